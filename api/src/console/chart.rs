//! Small bar charts as SVG, each with the same as a table for those who do not see it.

use maud::{Markup, html};

use super::text::Text;
use super::visit::Visit;

const HEIGHT: i64 = 108;
const BAR: i64 = 14;
const PITCH: i64 = 20;
const BASE: i64 = HEIGHT - 16;

/// One place on the axis: what it is called, and a value of each series.
pub(super) struct Bar {
    pub label: String,
    pub values: Vec<i64>,
}

/// Bars side by side; those of a second series stand in front. `said` writes a value.
pub(super) fn bars(visit: &Visit, title: &str, series: &[&str], bars: &[Bar], said: impl Fn(i64) -> String) -> Markup {
    let largest = bars.iter().flat_map(|bar| &bar.values).copied().max().unwrap_or(0).max(1);
    let width = PITCH * i64::try_from(bars.len()).unwrap_or(0);
    html! {
        figure.chart {
            figcaption {
                (title)
                @if series.len() > 1 {
                    span.legend {
                        @for (n, name) in series.iter().enumerate() { span class={ "series-" (n) } { (name) } }
                    }
                }
            }
            svg viewBox={ "0 0 " (width.max(1)) " " (HEIGHT) } role="img" aria-label=(title) {
                text.peak x="0" y="9" { (said(largest)) }
                line.axis x1="0" x2=(width) y1=(BASE) y2=(BASE) {}
                @for (n, bar) in (0..).zip(bars) {
                    @for (of, value) in bar.values.iter().enumerate() {
                        @let height = value * (BASE - 18) / largest;
                        rect class={ "series-" (of) } x=(n * PITCH + 3) y=(BASE - height) width=(BAR) height=(height) rx="2" {
                            title { (bar.label) ": " (said(*value)) }
                        }
                    }
                    @if n % 3 == 0 { text x=(n * PITCH + 10) y=(HEIGHT - 3) text-anchor="middle" { (bar.label) } }
                }
            }
            details {
                summary { (visit.say(Text::AsTable)) }
                table {
                    thead {
                        tr {
                            th scope="col" { (visit.say(Text::Hour)) }
                            @for name in series { th.number scope="col" { (name) } }
                        }
                    }
                    tbody {
                        @for bar in bars.iter().filter(|bar| bar.values.iter().any(|value| *value != 0)) {
                            tr {
                                th scope="row" { (bar.label) }
                                @for value in &bar.values { td.number { (said(*value)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
