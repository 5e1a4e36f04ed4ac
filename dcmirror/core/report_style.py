"""How the page of a report looks: on a wall, on a telephone, on paper, in the dark."""

from __future__ import annotations

_LIGHT = """
--paper:#fff;--card:#f4f6f9;--ink:#17202c;--quiet:#586576;--rule:#dde3ea;--rail:#e6ebf1;
--blue:#1c67c8;--soft:#8fb6ea;--good:#1d8a5b;--bad:#c4374b;--warn:#b06a00;
--s0:#c4374b;--s1:#e39a2d;--s2:#6b4fa0;--s3:#12848f;--s4:#8a6347;--s5:#8492a3;
"""

_DARK = """
--paper:#10151c;--card:#19212c;--ink:#e7ecf3;--quiet:#9dabbd;--rule:#2b3644;--rail:#263140;
--blue:#6aabff;--soft:#355f93;--good:#54c793;--bad:#ff7a8a;--warn:#f0b455;
--s0:#ff7a8a;--s1:#f0b455;--s2:#b39bf0;--s3:#4cc5d0;--s4:#cfa07c;--s5:#8fa0b3;
"""

STYLE = f"""
:root{{color-scheme:light dark;{_LIGHT}}}
@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}
*{{box-sizing:border-box}}
html{{-webkit-text-size-adjust:100%;text-size-adjust:100%}}
body{{margin:0;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",
"DejaVu Sans",sans-serif;
font-variant-numeric:tabular-nums}}
main{{max-width:1180px;margin:0 auto;padding:40px 32px 56px}}
h1{{font-size:34px;line-height:1.15;margin:2px 0 14px;overflow-wrap:anywhere;
letter-spacing:-.01em}}
h2{{font-size:21px;line-height:1.25;margin:52px 0 4px;padding-top:18px;
border-top:1px solid var(--rule)}}
p{{margin:0 0 12px;max-width:76ch}}
bdi,td,th,dd{{overflow-wrap:anywhere}}
.eyebrow{{margin:0;color:var(--blue);font-weight:600;letter-spacing:.02em}}
.lead{{font-size:19px;line-height:1.5}}
.quiet,.small{{color:var(--quiet);font-size:14px}}
.facts{{display:flex;flex-wrap:wrap;gap:6px 32px;margin:20px 0 0}}
.facts div{{min-width:0}}
dt{{color:var(--quiet);font-size:13px}}
dd{{margin:0;font-size:15px}}
.cards{{display:grid;grid-template-columns:repeat(4,minmax(0,1fr));gap:14px;
margin:30px 0 0;padding:0;list-style:none}}
.cards li{{background:var(--card);border-radius:12px;padding:16px 18px 14px}}
.cards strong{{display:block;font-size:29px;line-height:1.2;font-weight:650;
letter-spacing:-.01em;overflow-wrap:anywhere}}
.cards span{{display:block}}
.cards .name{{color:var(--quiet);font-size:14px}}
.cards .more{{font-size:14px;color:var(--quiet);margin-top:3px;overflow-wrap:anywhere}}
.cards .bad strong{{color:var(--bad)}}
.cards .good strong{{color:var(--good)}}
.notes{{margin:26px 0 0;padding:14px 18px;border-left:4px solid var(--warn);
background:var(--card);border-radius:0 10px 10px 0}}
.notes p:last-child{{margin:0}}
.pair{{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:8px 40px;
align-items:end}}
figure{{margin:22px 0 0;min-width:0}}
figcaption{{font-weight:600;margin-bottom:6px}}
.chart{{display:flex}}
.chart svg{{display:block}}
.side{{flex:none}}
.plot{{flex:1;min-width:0;overflow:visible}}
svg text{{fill:var(--quiet);font-size:12.5px}}
.grid{{stroke:var(--rule)}}
.base{{stroke:var(--quiet)}}
.hint{{fill:var(--ink);fill-opacity:0}}
.hint:hover{{fill-opacity:.08}}
path{{fill:none;vector-effect:non-scaling-stroke;stroke-linecap:round;
stroke-linejoin:round;stroke-width:2}}
.bar{{fill:var(--blue);background:var(--blue)}}
.soft{{fill:var(--soft);background:var(--soft)}}
.rail{{fill:var(--rail)}}
.mark{{stroke:var(--ink);stroke-width:2}}
.line0{{stroke:var(--blue);background:var(--blue)}}
.line1{{stroke:var(--s1);background:var(--s1)}}
.line2{{stroke:var(--s0);background:var(--s0)}}
.edge{{stroke:none;background:var(--soft)}}
path.band{{fill:var(--soft);fill-opacity:.45;stroke:none}}
span.band{{background:var(--soft)}}
.s0{{fill:var(--s0);background:var(--s0)}}.s1{{fill:var(--s1);background:var(--s1)}}
.s2{{fill:var(--s2);background:var(--s2)}}.s3{{fill:var(--s3);background:var(--s3)}}
.s4{{fill:var(--s4);background:var(--s4)}}.s5{{fill:var(--s5);background:var(--s5)}}
.legend{{display:flex;flex-wrap:wrap;gap:2px 18px;margin:0 0 8px;padding:0;
list-style:none;font-size:14px;color:var(--quiet)}}
.key{{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:6px}}
.meter{{display:block;margin-top:5px}}
table{{border-collapse:collapse;width:100%;margin-top:16px;font-size:15px}}
caption{{text-align:left;font-weight:600;margin-bottom:4px}}
th{{text-align:left;font-weight:600;color:var(--quiet);font-size:13px;
vertical-align:bottom}}
th,td{{padding:7px 0 7px 18px;border-bottom:1px solid var(--rule)}}
th:first-child,td:first-child{{padding-left:0}}
td{{vertical-align:top}}
tbody th{{font-weight:400;font-size:15px;color:var(--ink);vertical-align:top}}
.n{{text-align:right;white-space:nowrap}}
.zero{{color:var(--quiet)}}
details{{margin-top:26px}}
summary{{cursor:pointer;font-weight:600;color:var(--blue)}}
footer{{margin-top:52px;padding-top:16px;border-top:1px solid var(--rule)}}
@media (max-width:900px){{.pair{{grid-template-columns:minmax(0,1fr)}}
.cards{{grid-template-columns:repeat(2,minmax(0,1fr))}}}}
@media (max-width:620px){{main{{padding:22px 16px 40px}}h1{{font-size:27px}}
h2{{font-size:19px;margin-top:38px}}.lead{{font-size:17px}}.cards{{gap:10px}}
.cards li{{padding:12px 13px}}.cards strong{{font-size:22px}}
.wide{{display:none}}th,td{{padding-left:10px}}table{{font-size:14px}}
tbody th{{font-size:14px}}}}
@media print{{:root{{color-scheme:light;{_LIGHT}}}body{{font-size:11pt}}
main{{max-width:none;padding:0}}h2{{break-after:avoid}}details{{display:none}}
figure,table,.cards li,tr{{break-inside:avoid}}
*{{-webkit-print-color-adjust:exact;print-color-adjust:exact}}}}
@page{{margin:16mm}}
"""
