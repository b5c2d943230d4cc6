"""A program as one HTML page: what a step costs, where, and the source of each kernel beside its schedule.

The page stands alone (no scripts, nothing loaded) and prints what `kcompile.report.facts` holds. Refuses to count or measure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kcompile.report as report
from codegen.program import Program

TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ name }} on {{ target }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { --ink: #1b1f24; --soft: #667080; --line: #d8dde3; --back: #fff; --card: #f6f8fa; --bar: #3b7dd8; --mark: #d9822b; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ec; --soft: #98a2ae; --line: #343b44; --back: #14181d; --card: #1d232a; --bar: #5b9bf0; --mark: #f0a04b; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p, dd, .soft { color: var(--soft); } code, pre, .n { font-family: ui-monospace, monospace; font-size: .85rem; }
.facts { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1rem 0; }
.facts div { background: var(--card); border-radius: .5rem; padding: .5rem .9rem; } .facts b { display: block; font-size: 1.15rem; }
details { border-top: 1px solid var(--line); } details:last-of-type { border-bottom: 1px solid var(--line); }
summary, .head { display: grid; grid-template-columns: 4rem 1fr 7rem 6rem 6rem 10rem; gap: .8rem; align-items: center; padding: .35rem .3rem; }
summary { cursor: pointer; list-style: none; } summary:hover { background: var(--card); }
.head { color: var(--soft); font-size: .85rem; } .n { text-align: right; white-space: nowrap; }
.what { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; } .what small { color: var(--soft); }
.bar { background: var(--card); border-radius: 3px; height: .7rem; } .bar i { display: block; height: 100%; min-width: 2px; border-radius: 3px; background: var(--bar); }
.most .bar i { background: var(--mark); }
dl { display: grid; grid-template-columns: 8rem 1fr; gap: .2rem 1rem; margin: .5rem .3rem; } dt { color: var(--soft); } dd { margin: 0; color: var(--ink); overflow-wrap: anywhere; }
pre { background: var(--card); border-radius: .5rem; padding: .8rem 1rem; overflow-x: auto; margin: .3rem 0 1rem; }
@media (max-width: 50rem) { summary, .head { grid-template-columns: 3rem 1fr 6rem; } summary > :nth-child(n+4), .head > :nth-child(n+4) { display: none; } }
{{ style | safe }}
</style></head><body>
<h1>{{ name }} <span class="soft">on {{ target }}</span></h1>
<p>One step, as {{ kernels | length }} kernels. Times are {{ times }}; estimates count operations and bytes, for one core.</p>
<div class="facts">
{% for label, value in facts %}<div><b>{{ value }}</b><span class="soft">{{ label }}</span></div>
{% endfor %}</div>
<h2>Kernels</h2>
<div class="head"><span>kernel</span><span>what it computes</span><span class="n">{{ column }}</span><span class="n">FLOP</span><span class="n">bytes</span><span>share</span></div>
{% for k in kernels %}<details id="{{ k.name }}"{% if k.most %} class="most"{% endif %}><summary><code>{{ k.name }}</code>
<span class="what">{{ k.ops }} <small>{{ k.layers }}</small></span><span class="n">{{ k.time }}</span><span class="n">{{ k.flops }}</span><span class="n">{{ k.bytes }}</span>
<span class="bar"><i style="width: {{ k.share }}%"></i></span></summary>
<dl>{% for term, text in k.facts %}<dt>{{ term }}</dt><dd>{{ text }}</dd>{% endfor %}</dl>
{{ k.source | safe }}
</details>
{% endfor %}
<h2>Memory</h2>
<dl>{% for term, text in memory %}<dt>{{ term }}</dt><dd>{{ text }}</dd>{% endfor %}</dl>
</body></html>
"""


def page(program: Program, seconds: Mapping[str, float] | None = None) -> str:
    """The page of a program. seconds: measured, for each kernel by name."""
    import jinja2
    import pygments.formatters as formatters

    facts = report.facts(program, seconds)
    total = sum(_time(k) for k in facts["kernels"]) or 1.0
    most = max((_time(k) for k in facts["kernels"]), default=0.0)
    types = {b["name"]: f"{b['path'] or b['name']}: {b['type']}" for b in facts["buffers"]}
    rows = []
    for k in facts["kernels"]:
        rows.append({
            "name": k["name"], "ops": k["ops"], "layers": report.shorten(k["layers"]), "time": report.duration(_time(k)),
            "flops": report.count(k["flops"]), "bytes": report.count(k["bytes"]), "most": _time(k) == most,
            "share": f"{100 * _time(k) / total:.1f}", "facts": list(_facts(k, types)), "source": _source(k["source"], program.target),
        })  # fmt: skip
    memory = facts["memory"]
    estimated = sum(k["seconds_estimated"] for k in facts["kernels"])
    head = [
        ("FLOP a step", report.count(program.flops)),
        ("bytes moved", f"{report.count(program.bytes)}B"),
        ("estimated", report.duration(estimated)),
        ("memory at most", f"{report.count(memory['peak'])}B"),
    ]
    if seconds:
        head.insert(3, ("measured, kernel by kernel", report.duration(total)))
    environment = jinja2.Environment(autoescape=True)
    return environment.from_string(TEMPLATE).render(
        name=program.name,
        target=program.target,
        kernels=rows,
        facts=head,
        memory=[(role, f"{report.count(n)}B") for role, n in memory.items()],
        times="measured" if seconds else "estimated",
        column="measured" if seconds else "estimated",
        style=_styles(formatters.HtmlFormatter),
    )


def _time(k: dict[str, Any]) -> float:
    found = k.get("seconds_measured", k["seconds_estimated"])
    return float(found)


def _facts(k: dict[str, Any], types: dict[str, str]) -> Any:
    yield "layers", ", ".join(filter(None, k["layers"])) or "-"
    yield "estimated", report.duration(k["seconds_estimated"])
    if "seconds_measured" in k:
        speed = k["flops"] / max(k["seconds_measured"], 1e-12) / 1e9
        moved = k["bytes"] / max(k["seconds_measured"], 1e-12) / 1e9
        yield (
            "measured",
            f"{report.duration(k['seconds_measured'])}: {speed:.3g} GFLOP/s, {moved:.3g} GB/s",
        )
    yield "schedule", report.plain(k["schedule"]) or "-"
    yield "reads", "; ".join(types.get(n, n) for n in k["reads"]) or "-"
    yield "writes", "; ".join(types.get(n, n) for n in k["writes"]) or "-"
    if k["not_fused_because"]:
        yield "not fused", "; ".join(k["not_fused_because"])


def _source(text: str, target: str) -> str:
    """The source of a kernel as HTML, coloured."""
    import pygments
    import pygments.formatters as formatters
    import pygments.lexers as lexers

    in_c = target == "native" and report.is_c(text)
    lexer = lexers.CLexer() if in_c else lexers.PythonLexer()
    return str(pygments.highlight(text, lexer, formatters.HtmlFormatter()))


def _styles(formatter: Any) -> str:
    """The colours of source text, for light and for dark pages."""
    light = formatter(style="default").get_style_defs(".highlight")
    dark = formatter(style="monokai").get_style_defs(".highlight")
    plain = ".highlight, .highlight pre { background: var(--card) !important; }"
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{plain}"
