from lens.pieces import token_bytes, visible


def test_labels_show_what_cannot_be_seen():
    assert visible(" the") == "·the"
    assert visible("a\n\tb\r") == "a↵⇥b␍"
    assert visible("\x00\u200b\ufffd") == "⟨00⟩⟨200b⟩⟨fffd⟩"
    assert visible(b" \xe2\x80".decode("utf-8", "surrogateescape")) == "·⟨e2-80⟩"
    assert visible(b"\x80\xe2\x80a\xe4\xe4".decode("utf-8", "surrogateescape")) == "⟨80⟩⟨e2-80⟩a⟨e4⟩⟨e4⟩"
    assert visible("") == "⟨empty⟩"
    assert visible("<script>é🙂") == "<script>é🙂"


def test_bytes_of_tokens_join_to_the_text(tokenizer):
    text = "naïve 🙂\n x"
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert b"".join(token_bytes(tokenizer, i) for i in ids) == text.encode()
    assert token_bytes(tokenizer, 0) == b"<bos>"
