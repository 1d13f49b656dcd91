"""The script of CircuitsVis in the house's words, colours and fonts.

Its elements take neither the colours of heads nor the words beside them, so these are written into the copy of its
bundle that the app serves. Each passage is known to the letter: another version of CircuitsVis is refused.
"""

import hashlib
import os
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

KNOWN = "1.43.3"
FONT = 'getComputedStyle(document.querySelector("[data-testid=stApp]")||document.body).fontFamily'
INK = "#10151c"
# What stands in the bundle -> what takes its place. ``hues``: an RGB triple for each head.
PASSAGES: Mapping[str, str] = MappingProxyType(
    {
        # All heads on one text: from white to the head's own hue, half as strong under the dark words.
        "function Rgt(e){": "function Rgt(e,hues){",
        "let l=(0,Fq.default)({h:s/r.length*360,s:.8,l:1-.75*a}),{r:u,g:c,b:p}=l.toRgb();return[u,c,p]": (
            "return hues[s].map(c=>255-a*(255-c))"
        ),
        "function Pq({tokens:e,attention:t,headLabels:r}){": (
            "function Pq({tokens:e,attention:t,headLabels:r,hues:hues}){"
        ),
        "Rgt(t),[t])": "Rgt(t,hues),[t,hues])",
        "[p,f,m]=c.arraySync()": "[p,f,m]=c.arraySync().map(v=>(255+v)/2)",
        'h=d.getBrightness()<180?"white":"black"': f'h="{INK}"',
        'p=He(c).brightness()<.6?"white":"black"': 'p=He(c).brightness()<.4?"white":"black"',  # 4.5:1 on every colour
        "Jl(t,r,n,o,s).toRgbString(),f=He(p).brightness()<.6": "Jl(t,r,n,o,s).toRgbString(),f=He(p).brightness()<.4",
        "Jl(r,n,o,s,i).toRgbString(),f=He(p).brightness()<.6": "Jl(r,n,o,s,i).toRgbString(),f=He(p).brightness()<.4",
        '"Attention Patterns"': '"Query down, key across"',
        '"Head selector"': '"Heads"',
        '"Tokens",': '"Text",',
        '"Source \\u2190 Destination"': '"query \\u2192 what it looks at"',
        '"Destination \\u2190 Source"': '"key \\u2192 who looks at it"',
        # A map for each head: frame and name in its hue, the half above the diagonal blank, the current head enlarged.
        'function Zv(e,t,r="100%"){return`hsla(${Math.round(e/t*360)}, 70%, 50%,  ${r})`}': (
            "function Zv(e,r=1){return`rgba(${e.map(v=>(255+v)/2).join()},${r})`}"
        ),
        "function eJ({": "function eJ({hues:hues,",
        "function tP({": "function tP({hues:hues,first:first,",
        "=Qc(0),f=t||": "=Qc(first),f=t||",
        "createElement(eJ,{": "createElement(eJ,{hues:hues,",
        "Zv(m,e.length)": "Zv(hues[m])",
        'Zv(m,e.length,"60%")': "Zv(hues[m],.6)",
        "Zv(l,e.length)": "Zv(hues[l])",
        'color:"white"}},t[m])': f'color:"{INK}"}}}},t[m])',
        'color:"white"}},f[l])': f'color:"{INK}"}}}},f[l])',
        '"Head Selector (hover to view, click to lock)"': '"Heads (hover to enlarge, click to lock)"',
        'f[l]," Zoomed"': '"Head ",f[l]',
        'tJ="rgb(200,200,200)"': 'tJ="rgba(255,255,255,0)"',
        'text:"Source Token"': 'text:"key"',
        'text:"Destination Token"': 'text:"query"',
        '?"N/A":': '?"later than its query":',
        "[`(${h.destIdx}, ${h.srcIdx})`,`Src: ${h.srcToken}`,`Dest: ${h.destToken} `,`Val: ${h.v}`]": (
            "[`query ${h.destIdx}: ${h.destToken}`,`key ${h.srcIdx}: ${h.srcToken}`,`${h.v}`]"
        ),
        "m={animation:{duration:0},": f"m={{animation:{{duration:0}},font:{{family:{FONT}}},",
    }
)
TWICE = frozenset({"Zv(m,e.length)"})


def in_our_words(script: str) -> str:
    """The bundle with every passage of ``PASSAGES`` replaced; ValueError where one is not found."""
    for old, new in PASSAGES.items():
        if script.count(old) != 1 + (old in TWICE):
            raise ValueError(
                f"circuitsvis {version('circuitsvis')}: {script.count(old)} times {old[:60]!r} in its bundle. "
                f"Install circuitsvis=={KNOWN}."
            )
        script = script.replace(old, new)
    return script


def bundle_name() -> str:
    """Carries the version and a digest of what is replaced, so that a browser never keeps an old one."""
    digest = hashlib.sha256(repr(sorted(PASSAGES.items())).encode()).hexdigest()
    return f"circuitsvis-{version('circuitsvis')}.{int(digest[:8], 16)}.js"


def write_bundle(folder: Path) -> str:
    """The bundle in ``folder``, written unless it is there; its file name. Two processes that start together never
    serve half a file."""
    target = folder / bundle_name()
    if not target.is_file():
        # find_spec and not import: importing circuitsvis imports torch.
        package = Path(find_spec("circuitsvis").submodule_search_locations[0])
        script = in_our_words((package / "dist" / "cdn" / "iife.js").read_text(encoding="utf-8"))
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as part:
            part.write(script.encode())
        os.chmod(part.name, 0o644)
        os.replace(part.name, target)
    return target.name


if __name__ == "__main__":  # for an installation whose folder the app may not write into
    write_bundle(Path(sys.argv[1]))
