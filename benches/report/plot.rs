//! Bar charts as SVG, readable on light and dark pages.

use std::fmt::Write;

use crate::statistics::Interval;

const WIDTH: f64 = 760.0;
const NAME_WIDTH: f64 = 210.0;
const VALUE_WIDTH: f64 = 90.0;
const ROW_HEIGHT: f64 = 28.0;
const HEAD_HEIGHT: f64 = 44.0;

/// One bar of a chart.
pub(crate) struct Bar {
    /// Label.
    pub(crate) name: &'static str,
    /// Length of the bar; the interval is drawn as a line.
    pub(crate) value: Interval,
    /// Drawn in the accent colour.
    pub(crate) own: bool,
}

/// Draws bars sorted by length, on a scale that begins at zero.
pub(crate) fn bars(title: &str, mut bars: Vec<Bar>) -> String {
    bars.sort_by(|one, other| other.value.mean.total_cmp(&one.value.mean));
    let longest = bars.iter().map(|bar| bar.value.high).fold(f64::MIN_POSITIVE, f64::max);
    let height = HEAD_HEIGHT + ROW_HEIGHT * bars.len() as f64 + 8.0;
    let x = |value: f64| NAME_WIDTH + value / longest * (WIDTH - NAME_WIDTH - VALUE_WIDTH);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\n\
         <style>\n\
         text {{ font: 14px system-ui, sans-serif; fill: #24292f }}\n\
         .title {{ font-weight: 600 }}\n\
         .other {{ fill: #8c959f }}\n\
         .own {{ fill: #2f6f4f }}\n\
         line {{ stroke: #24292f; stroke-width: 1.5 }}\n\
         @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} line {{ stroke: #e6edf3 }} .own {{ fill: #56b287 }} }}\n\
         </style>\n\
         <text class=\"title\" x=\"0\" y=\"20\">{title}</text>\n"
    );
    for (index, Bar { name, value, own }) in bars.iter().enumerate() {
        let top = HEAD_HEIGHT + ROW_HEIGHT * index as f64;
        let (middle, baseline) = (top + 9.0, top + 14.0);
        let (class, end) = (if *own { "own" } else { "other" }, x(value.mean));
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{baseline:.1}\" text-anchor=\"end\">{name}</text>\n\
             <rect class=\"{class}\" x=\"{NAME_WIDTH}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"18\" rx=\"2\"/>\n\
             <line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/>\n\
             <text x=\"{:.1}\" y=\"{baseline:.1}\">{}</text>",
            NAME_WIDTH - 10.0,
            end - NAME_WIDTH,
            x(value.low),
            x(value.high),
            x(value.high) + 8.0,
            format_number(value.mean),
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Formats a number with two to four digits and a unit prefix.
pub(crate) fn format_number(value: f64) -> String {
    match value {
        1e6.. => format!("{:.2}M", value / 1e6),
        1e4.. => format!("{:.0}k", value / 1e3),
        1e3.. => format!("{:.1}k", value / 1e3),
        1e2.. => format!("{value:.0}"),
        _ => format!("{value:.1}"),
    }
}
