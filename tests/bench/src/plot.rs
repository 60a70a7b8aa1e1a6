//! Plots as SVG, which read well on light and on dark ground: there is no ground in them, and no colour is near either.

use std::ops::Range;

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::digits;

const SIZE: (u32, u32) = (760, 380);
const FONT: &str = "sans-serif";
const TEXT: RGBColor = RGBColor(0x76, 0x7b, 0x84);
const BAR: RGBColor = RGBColor(0x3d, 0x85, 0xc6);
/// By scenario.
const COLOURS: [(&str, RGBColor); 9] = [
    ("ceiling", RGBColor(0x3d, 0x85, 0xc6)),
    ("place", RGBColor(0xe0, 0x7b, 0x1a)),
    ("lifecycle", RGBColor(0x3f, 0x9e, 0x4d)),
    ("waiting", RGBColor(0xd6, 0x45, 0x4b)),
    ("wake", RGBColor(0x9a, 0x6f, 0xc4)),
    ("hot-sku", RGBColor(0x9c, 0x6b, 0x4a)),
    ("read", RGBColor(0xd0, 0x64, 0xa8)),
    ("restart", RGBColor(0x2f, 0xa3, 0xa3)),
    ("soak", RGBColor(0xa8, 0x9a, 0x1d)),
];
/// A bar's height with the space below it, and the room for its name and its number.
const ROW: i32 = 34;
const NAME: i32 = 130;
const NUMBER: i32 = 110;
const TITLE: i32 = 44;
/// The room for the names of lines, and for each of them.
const LEGEND: i32 = 100;
const LEGEND_ROW: i32 = 20;
/// How many ticks an axis has at least, where they are evenly spaced.
const TICKS: f64 = 4.0;
/// Percentiles by where they stand: 90 at 1, 99 at 2, and so on, and the slowest of all at the end.
const PERCENTILES: [(f64, &str); 5] = [(0.0, "0"), (1.0, "90"), (2.0, "99"), (3.0, "99.9"), (SLOWEST, "all")];
const SLOWEST: f64 = 4.0;

/// A line, by its name.
pub type Line<'a> = (&'a str, &'a [(f64, f64)]);

/// How a plot is to be read.
pub struct Axes<'a> {
    pub title: &'a str,
    pub x: &'a str,
    pub y: &'a str,
}

/// An axis: from where to where it goes, and what it says where.
struct Axis {
    from: f64,
    to: f64,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From zero, with ticks at round numbers.
    fn plain(to: f64) -> Self {
        let scale = 10_f64.powf((to / TICKS).log10().floor());
        let step = [5.0, 2.0, 1.0].map(|n| n * scale).into_iter().find(|step| to / step >= TICKS).unwrap_or(scale);
        let ticks = (0_u8..).map(|n| f64::from(n) * step).take_while(|tick| *tick <= to);
        Self { from: 0.0, to, ticks: ticks.map(|tick| (tick, digits(tick).to_string())).collect() }
    }

    /// Of logarithms, with ticks at 1, 2, 5, 10 and so on.
    fn of_logarithms(from: f64, to: f64) -> Self {
        let tens = (-2_i32..8).map(|power| 10_f64.powi(power));
        let ticks = tens.flat_map(|ten| [1.0, 2.0, 5.0].map(|n| n * ten)).map(|tick| (tick.log10(), tick));
        let ticks = ticks.filter(|(at, _)| (from..=to).contains(at)).map(|(at, tick)| (at, digits(tick).to_string()));
        Self { from, to, ticks: ticks.collect() }
    }

    fn of_percentiles() -> Self {
        Self { from: 0.0, to: SLOWEST, ticks: PERCENTILES.map(|(at, name)| (at, name.to_owned())).into() }
    }

    fn says(&self, at: f64) -> String {
        let tick = self.ticks.iter().find(|(tick, _)| (tick - at).abs() <= f64::EPSILON * at.abs());
        tick.map_or_else(String::new, |(_, says)| says.clone())
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, pixels: (i32, i32)) -> i32 {
        let share = (value - self.from) / (self.to - self.from);
        pixels.0 + whole(share * f64::from(pixels.1 - pixels.0))
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|(at, _)| *at).collect()
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, at: &f64) -> String {
        self.says(*at)
    }
}

/// Lines over a common ground that begins at zero. None where there is nothing to draw.
pub fn lines(axes: &Axes<'_>, lines: &[Line<'_>]) -> Result<Option<String>> {
    let Some((x, _, y)) = reach(lines) else { return Ok(None) };
    draw(axes, Axis::plain(x), Axis::plain(y * 1.1), lines).map(Some)
}

/// Times by percentile, both logarithmic: each step to the right is a tenth of what the one before leaves.
pub fn percentiles(axes: &Axes<'_>, lines: &[Line<'_>]) -> Result<Option<String>> {
    let moved = |line: &[(f64, f64)]| line.iter().map(|(p, ms)| (nines(*p), ms.max(0.01).log10())).collect();
    let lines: Vec<(_, Vec<_>)> = lines.iter().map(|(name, line)| (*name, moved(line))).collect();
    let lines: Vec<Line<'_>> = lines.iter().map(|(name, line)| (*name, line.as_slice())).collect();
    let Some((_, least, most)) = reach(&lines) else { return Ok(None) };
    draw(axes, Axis::of_percentiles(), Axis::of_logarithms(least - 0.2, most + 0.2), &lines).map(Some)
}

/// A bar for each, with its number. None where there is nothing to draw.
pub fn bars(title: &str, bars: &[(&str, f64)]) -> Result<Option<String>> {
    let most = bars.iter().map(|(_, number)| *number).fold(0.0, f64::max);
    if most <= 0.0 {
        return Ok(None);
    }
    let rows = i32::try_from(bars.len())?;
    let height = TITLE + ROW * rows + 10;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (SIZE.0, height.cast_unsigned())).into_drawing_area();
        let room = f64::from(i32::try_from(SIZE.0)? - NAME - NUMBER);
        let middle = Pos::new(HPos::Left, VPos::Center);
        let text = (FONT, 16).into_font().color(&TEXT);
        area.draw(&Text::new(title, (10, 10), (FONT, 20).into_font().color(&TEXT))).map_err(fault)?;
        for ((name, number), row) in bars.iter().zip(0..rows) {
            let top = TITLE + ROW * row;
            let end = NAME + whole(room * number.max(0.0) / most);
            let (bar, centre) = ([(NAME, top), (end, top + ROW - 8)], top + (ROW - 8) / 2);
            area.draw(&Rectangle::new(bar, BAR.filled())).map_err(fault)?;
            area.draw(&Text::new(*name, (10, centre), text.clone().pos(middle))).map_err(fault)?;
            let number = digits(*number).to_string();
            area.draw(&Text::new(number, (end + 8, centre), text.clone().pos(middle))).map_err(fault)?;
        }
        area.present().map_err(fault)?;
    }
    Ok(Some(svg))
}

fn draw(axes: &Axes<'_>, x: Axis, y: Axis, lines: &[Line<'_>]) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .caption(axes.title, (FONT, 20).into_font().color(&TEXT))
            .margin(10)
            .margin_right(LEGEND)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(x, y)
            .map_err(fault)?;
        chart
            .configure_mesh()
            .x_desc(axes.x)
            .y_desc(axes.y)
            .axis_style(TEXT)
            .light_line_style(TRANSPARENT)
            .bold_line_style(TEXT.mix(0.25))
            .label_style((FONT, 14).into_font().color(&TEXT))
            .draw()
            .map_err(fault)?;
        let (left, middle) = (i32::try_from(SIZE.0)? - LEGEND + 10, Pos::new(HPos::Left, VPos::Center));
        let text = (FONT, 14).into_font().color(&TEXT).pos(middle);
        for ((name, line), row) in lines.iter().zip(1..) {
            let (colour, height) = (colour(name).stroke_width(2), TITLE + LEGEND_ROW * row);
            chart.draw_series(LineSeries::new(line.iter().copied(), colour)).map_err(fault)?;
            area.draw(&PathElement::new([(left, height), (left + 14, height)], colour)).map_err(fault)?;
            area.draw(&Text::new(*name, (left + 20, height), text.clone())).map_err(fault)?;
        }
        area.present().map_err(fault)?;
    }
    Ok(svg)
}

/// The same in every plot.
fn colour(name: &str) -> RGBColor {
    COLOURS.iter().find(|(scenario, _)| *scenario == name).map_or(TEXT, |(_, colour)| *colour)
}

/// The most x, and the least and the most y.
fn reach(lines: &[Line<'_>]) -> Option<(f64, f64, f64)> {
    let points = || lines.iter().flat_map(|(_, line)| line.iter());
    let first = points().next()?;
    let (x, least, most) = points().fold((first.0, first.1, first.1), |(x, least, most), point| {
        (x.max(point.0), least.min(point.1), most.max(point.1))
    });
    // A single moment, or nothing but zeros, spans no plane.
    (x > 0.0).then_some((x, least, if most == 0.0 { 1.0 } else { most }))
}

/// Where a percentile stands: 90 at 1, 99 at 2, and so on.
fn nines(percentile: f64) -> f64 {
    if percentile >= 100.0 { SLOWEST } else { -(1.0 - percentile / 100.0).log10() }
}

#[allow(clippy::cast_possible_truncation, reason = "a plot is a few hundred pixels wide")]
const fn whole(pixels: f64) -> i32 {
    pixels as i32
}

fn fault(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("a plot cannot be drawn: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const AXES: Axes<'_> = Axes { title: "A title", x: "seconds", y: "orders" };

    #[test]
    fn every_line_is_drawn_and_named() {
        let line = [(1.0, 10.0), (2.0, 30.0)];
        for draw in [lines, percentiles] {
            let svg = draw(&AXES, &[("first", &line), ("second", &line)]).expect("draws").expect("something");
            assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
            assert!(["A title", "seconds", "first", "second"].iter().all(|text| svg.contains(text)), "{svg}");
        }
    }

    #[test]
    fn nothing_is_not_drawn() {
        assert_eq!(lines(&AXES, &[("first", &[])]).expect("draws"), None);
        assert_eq!(percentiles(&AXES, &[]).expect("draws"), None);
        assert_eq!(bars("A title", &[("first", 0.0)]).expect("draws"), None);
    }

    #[test]
    fn every_bar_has_its_number() {
        let svg = bars("A title", &[("first", 12.345), ("second", 3.0)]).expect("draws").expect("something");
        assert!(["first", "second", "12.35", "\n3\n"].iter().all(|text| svg.contains(text)), "{svg}");
    }

    #[test]
    fn ticks_are_round() {
        let says = |axis: Axis| axis.ticks.into_iter().map(|(_, says)| says).collect::<Vec<_>>();
        assert_eq!(says(Axis::plain(610.0)), ["0", "100", "200", "300", "400", "500", "600"]);
        assert_eq!(says(Axis::plain(0.9)), ["0", "0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(says(Axis::of_logarithms(0.3, 1.8)), ["2", "5", "10", "20", "50"]);
        let axis = Axis::of_percentiles();
        assert!(axis.ticks.iter().all(|(at, says)| axis.says(*at) == *says) && axis.says(0.5).is_empty());
    }

    #[test]
    fn percentiles_stand_by_their_nines() {
        for (percentile, at) in [(0.0, 0.0), (90.0, 1.0), (99.0, 2.0), (99.9, 3.0), (100.0, SLOWEST)] {
            assert!((nines(percentile) - at).abs() < 1e-9, "{percentile}");
        }
    }
}
