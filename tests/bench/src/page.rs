//! The report as a page: a table and plots, in one file that needs no other.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use crate::plot::{self, Axes, Line};
use crate::report::{self, Figures};

const STYLE: &str = "
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 800px; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
svg { width: 100%; height: auto; margin-top: 1.5rem; }
pre { font-size: 12px; overflow-x: auto; }
";

/// A plot, by the name of its file.
pub struct Plot {
    name: &'static str,
    svg: String,
}

/// Everything that there is to draw.
pub fn plots(all: &[Figures]) -> Result<Vec<Plot>> {
    let reads = |figures: &&Figures| figures.scenario == "read";
    let rate = |title| Axes { title, x: "seconds", y: "a second" };
    let lines = |which: fn(&Figures) -> &[(f64, f64)]| -> Vec<Line<'_>> {
        all.iter().map(|figures| (figures.scenario, which(figures))).filter(|(_, line)| !line.is_empty()).collect()
    };
    let (pages, orders): (Vec<&Figures>, Vec<&Figures>) = all.iter().partition(reads);
    let throughput = |of: &[&Figures]| -> Vec<(&'static str, Vec<(f64, f64)>)> {
        let lines = of.iter().map(|figures| (figures.scenario, figures.curves.throughput.clone()));
        lines.filter(|(_, line)| !line.is_empty()).collect()
    };
    let (pages, orders) = (throughput(&pages), throughput(&orders));
    let memory = Axes { title: "Memory of jumun and its engine", x: "seconds", y: "MB" };
    let latency = Axes { title: "Latency", x: "percentile", y: "ms" };
    let growth = Axes { title: "Throughput as orders pile up", x: "orders so far", y: "orders a second" };
    let drawn = [
        ("throughput", plot::lines(&rate("Orders and workflows done"), &borrowed(&orders))?),
        ("reads", plot::lines(&rate("Order pages read"), &borrowed(&pages))?),
        ("latency", plot::percentiles(&latency, &lines(|figures| &figures.curves.latency))?),
        ("memory", plot::lines(&memory, &lines(|figures| &figures.curves.memory))?),
        ("cpu", bars("Processor time of an order, ms", all, |figures| figures.cpu_ms_per_order)?),
        ("disk", bars("Bytes of an order on disk", all, |figures| figures.disk_bytes_per_order)?),
        ("growth", plot::lines(&growth, &lines(|figures| &figures.curves.growth))?),
    ];
    Ok(drawn.into_iter().filter_map(|(name, svg)| Some(Plot { name, svg: svg? })).collect())
}

fn borrowed<'a>(lines: &'a [(&'static str, Vec<(f64, f64)>)]) -> Vec<Line<'a>> {
    lines.iter().map(|(name, line)| (*name, line.as_slice())).collect()
}

fn bars(title: &str, all: &[Figures], which: fn(&Figures) -> Option<f64>) -> Result<Option<String>> {
    let bars: Vec<_> = all.iter().filter_map(|figures| Some((figures.scenario, which(figures)?))).collect();
    plot::bars(title, &bars)
}

/// Writes each plot into a file of its own.
pub fn write_plots(plots: &[Plot], dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    for Plot { name, svg } in plots {
        std::fs::write(dir.join(format!("{name}.svg")), svg)?;
    }
    Ok(())
}

/// The page; `about` says what was measured, and where.
pub fn page(about: &str, all: &[Figures], plots: &[Plot]) -> Result<String> {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>jumun: how fast</title>\n\
         <style>{STYLE}</style>\n<h1>jumun: how fast</h1>\n<p>{about}</p>\n<table>\n"
    );
    row(&mut page, "th", &report::columns())?;
    for figures in all {
        row(&mut page, "td", &report::row(figures))?;
    }
    page.push_str("</table>\n");
    for Plot { svg, .. } in plots {
        page.push_str(svg);
    }
    page.push_str("<h2>All figures</h2>\n<pre>");
    page.push_str(&serde_json::to_string_pretty(all)?.replace('<', "&lt;"));
    page.push_str("</pre>\n</html>\n");
    Ok(page)
}

fn row(page: &mut String, tag: &str, cells: &[impl AsRef<str>]) -> Result<()> {
    page.push_str("<tr>");
    for cell in cells {
        write!(page, "<{tag}>{}</{tag}>", cell.as_ref())?;
    }
    page.push_str("</tr>\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_needs_no_other_file() {
        let mut figures = Figures { scenario: "place", cpu_ms_per_order: Some(3.5), ..Figures::default() };
        figures.curves.throughput = vec![(1.0, 100.0), (2.0, 101.0)];
        let all = [figures];
        let plots = plots(&all).expect("draws");
        assert_eq!(plots.iter().map(|plot| plot.name).collect::<Vec<_>>(), ["throughput", "cpu"]);
        let page = page("Measured somewhere.", &all, &plots).expect("writes");
        assert!(page.contains("<td>place</td>") && page.matches("<svg").count() == 2);
        for elsewhere in ["src=", "href=", "@import", "url("] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
    }
}
