"""The page's style sheet."""

from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;--back:#fff;--text:#1b1f24;--soft:#57606a;--line:#d0d7de;
--value:#0550ae;--bounds:#0550ae24;--limit:#b42318;--firing:#d92d2030;--alert:#c4320a;
--incident:#6941c61f;--edge:#6941c6;--mark:#fff4d6}
@media (prefers-color-scheme:dark){:root{--back:#0d1117;--text:#e6edf3;--soft:#9aa4af;
--line:#30363d;--value:#79c0ff;--bounds:#79c0ff2b;--limit:#ff8a80;--firing:#ff6b5e3d;
--alert:#ff7b54;--incident:#b39dfa2e;--edge:#b39dfa;--mark:#3a2f12}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1040px;margin:0 auto;padding:24px 20px 64px}
h1{font-size:26px;margin:0 0 8px}h2{font-size:19px;margin:36px 0 10px}
h3{font-size:16px;margin:22px 0 8px}
p{margin:6px 0}.lead{font-size:17px}.note{color:var(--soft);font-size:13px}
.suggestion{border-left:4px solid var(--value);padding:6px 12px}
code{font:13px ui-monospace,SFMono-Regular,Menlo,monospace}
figure{margin:14px 0 18px}figcaption{display:flex;flex-wrap:wrap;gap:4px 20px;margin-bottom:4px}
.legend{display:flex;flex-wrap:wrap;gap:2px 14px;color:var(--soft);font-size:13px}
.legend i{display:inline-block;width:18px;height:10px;margin-right:5px}
.legend i.value{height:3px;background:var(--value);vertical-align:middle}
.legend i.limit{height:0;border-top:2px dashed var(--limit);vertical-align:middle}
i.bounds{background:var(--bounds)}i.firing{background:var(--firing)}
i.incident{background:var(--incident);outline:1px solid var(--edge)}
.scroll{overflow-x:auto}.scroll:focus-visible{outline:2px solid var(--value)}
.scroll>svg{display:block;width:100%;min-width:680px;height:auto;font:12px system-ui,sans-serif}
svg text{fill:var(--soft)}svg .lane{fill:var(--text)}svg .name{fill:var(--edge);font-weight:600}
svg path{fill:none}.grid{stroke:var(--line);stroke-width:.7}.axis{stroke:var(--soft)}
svg path.bounds{fill:var(--bounds)}svg path.range{fill:var(--value);opacity:.35}
path.value{stroke:var(--value);stroke-width:1.6;stroke-linejoin:round}
path.limit{stroke:var(--limit);stroke-width:1.6;stroke-dasharray:6 4}
rect.firing{fill:var(--firing)}rect.alert{fill:var(--alert)}
rect.incident{fill:var(--incident);stroke:var(--edge);stroke-width:.8;stroke-dasharray:3 3}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:4px 14px 4px 0;border-bottom:1px solid var(--line);white-space:nowrap;
vertical-align:top}
th{color:var(--soft);font-weight:600;font-size:13px}
.number{text-align:right}tr.marked{background:var(--mark);font-weight:600}
td:last-child,th:last-child{padding-right:0}
td:last-child:not(.number){white-space:normal;min-width:160px}
@media print{main{max-width:none}.scroll{overflow:visible}section{break-inside:avoid}}
"""
