"""Which dimensions of the stream hold what, and how strong the circuits are. Shared by all planted models.

Everything is one-hot: a token, the token before it, the token to predict, and the digits of a position each have
dimensions of their own, so that nothing overlaps and every product of weights is known in closed form. A position p is
two digits, p = 16 · high + low: a head that looks d back needs only the low digit moved by d, a linear map, and the
high digit of p − d, which W_pos holds for d = 1 and d = ``DISTANCE``.
"""

N_LAYERS, N_HEADS, D_HEAD, D_MODEL, D_VOCAB, N_CTX = 2, 4, 64, 256, 64, 128
BASE = 16  # of the digits of a position

TOKEN = slice(0, 64)  # the token itself, written by W_E
BEFORE = slice(64, 128)  # the token before, written by the previous-token head; the unembedding does not read it
OUT = slice(128, 192)  # the token to predict: all that the unembedding reads
LOW = slice(192, 208)  # low digit of the position
HIGH = slice(208, 216)  # high digit of the position
HIGH_BACK = {1: slice(216, 224), 24: slice(224, 232)}  # high digit of the position that far back
FIRST = 232  # 1 at position 0 only: where a head rests that finds nothing
TOO_EARLY = 233  # 1 at positions that have nothing DISTANCE back

PREVIOUS, DUPLICATE = (0, 1), (0, 3)  # layer, head
INDUCTION, SECOND = (1, 2), (1, 0)  # SECOND: the twin of planted-redundant
DISTANCE = 24  # how far back the head of planted-offset looks: n − 1 for blocks of N tokens
N = DISTANCE + 1

MATCH = 40.0  # attention score of a key that matches; keys that do not have 0, so nearly all attention: 1 − e⁻²⁰
REST = 20.0  # score of position 0 for a head that looks for a token
COPY = 10.0  # logits that an induction head adds to the token it attends to
TWIN = 20.0  # what each of the two heads of planted-redundant writes, before the final norm
GAIN = 0.625  # of that norm: logits cannot exceed GAIN · √d_model = 10
THRESHOLD = COPY / 2  # above which a planted neuron fires
DUST = 1e-5  # standard deviation of the noise in every W_O: no circuit is exactly zero, so no ratio is 0/0
