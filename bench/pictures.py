"""Pictures of what a part found, as plain SVG that follows the reader's light or dark page."""

from collections.abc import Callable, Mapping, Sequence
from html import escape

from bench.report import Report

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 40, 48
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f } .title { font-weight: 600 } .quiet { fill: #6e7781 }
.axis { stroke: #d0d7de } .floor { fill: #b6c2cf } .ours { fill: #0969da }
.line { stroke: #0969da; stroke-width: 2; fill: none }
.end { stroke: #cf222e; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .quiet { fill: #8b949e } .axis { stroke: #3d444d }
.floor { fill: #545d68 } .ours { fill: #4493f8 } .line { stroke: #4493f8 } .end { stroke: #ff7b72 } }
"""
Points = Sequence[tuple[float, float]]


def of(report: Report) -> Mapping[str, str]:
    """The pictures of a part, by name; most have none."""
    draw = DRAWN.get(report.part)
    return {report.part: draw(report)} if draw else {}


def bars(report: Report) -> str:
    """Reads a second: the floor and ours side by side."""
    names = list(report.curves)
    pairs = [(a, b) for a, b in zip(names[::2], names[1::2], strict=True)]
    most = max(points[0][1] for points in report.curves.values())
    step = (WIDTH - LEFT - RIGHT) / len(pairs)
    drawn = [_text(LEFT, 20, "Reads a second: the floor, and a credential with authentication", "title")]
    for place, pair in enumerate(pairs):
        for side, (name, kind) in enumerate(zip(pair, ("floor", "ours"), strict=True)):
            drawn += _bar(LEFT + step * (place + 0.16 + 0.34 * side), step * 0.3, report.curves[name][0][1], most, kind)
        where = pair[0].partition(", ")[2]
        drawn.append(_text(LEFT + step * (place + 0.5), HEIGHT - BOTTOM + 20, where, "quiet", "middle"))
    return _svg("Bars: reads a second of the floor and of a credential", [_base(), *drawn])


def _bar(x: float, width: float, value: float, most: float, kind: str) -> list[str]:
    y = _y(value / most)
    bar = (
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{HEIGHT - BOTTOM - y:.1f}" rx="2"/>'
    )
    return [bar, _text(x + width / 2, y - 5, f"{value:,.0f}", "", "middle")]


def curve(report: Report) -> str:
    """How many of the herd were refreshed, by the seconds to the end of their tokens."""
    points = report.curves["refreshed"]
    first, most = points[0][0] - 5, points[-1][1]
    last = max(0.0, points[-1][0]) + 5

    def x(seconds: float) -> float:
        return LEFT + (seconds - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    path = " ".join(f"{x(seconds):.1f},{_y(count / most):.1f}" for seconds, count in points)
    end = f'<line class="end" x1="{x(0):.1f}" y1="{TOP}" x2="{x(0):.1f}" y2="{HEIGHT - BOTTOM}"/>'
    told = [
        _text(LEFT, 20, "A herd: connections refreshed, by seconds before their tokens end", "title"),
        _text(LEFT - 8, _y(1) + 4, f"{most:,.0f}", "quiet", "end"),
        *(_text(x(at), HEIGHT - BOTTOM + 20, f"{at:,.0f} s", "quiet", "middle") for at in _ticks(first)),
    ]
    return _svg(
        "Curve: how many of the herd were refreshed", [_base(), end, f'<polyline class="line" points="{path}"/>', *told]
    )


def _ticks(first: float) -> list[int]:
    step = 60 if first < -120 else 10
    return list(range(0, int(first), -step))


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP - 16)


def _base() -> str:
    return f'<line class="axis" x1="{LEFT}" y1="{HEIGHT - BOTTOM}" x2="{WIDTH - RIGHT}" y2="{HEIGHT - BOTTOM}"/>'


def _text(x: float, y: float, said: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'


def _svg(label: str, drawn: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
    return "\n".join([head, f"<style>{STYLE}</style>", *drawn, "</svg>"]) + "\n"


DRAWN: Mapping[str, Callable[[Report], str]] = {"read": bars, "herd": curve}
