//! A figure of panels with lines, as SVG.

use std::fmt::Write;

/// A panel: lines over common axes.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(crate) title: String,
    /// The name of the horizontal axis.
    pub(crate) x: String,
    /// The name of the vertical axis.
    pub(crate) y: String,
    pub(crate) lines: Vec<Line>,
    /// Whether both axes are logarithmic.
    pub(crate) logarithmic: bool,
}

/// A line through points.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

const COLOURS: [&str; 7] = ["#1b6ca8", "#2e8b57", "#c0392b", "#8e44ad", "#d68910", "#16a085", "#555555"];

/// The size of a panel and of its plot, in pixels.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 280.0;
const PLOT: (f64, f64, f64, f64) = (60.0, 34.0, 400.0, 196.0);

/// Returns the figure.
pub(crate) fn draw(panels: &[Panel]) -> String {
    let mut svg = String::new();
    let height: f64 = panels.iter().map(|_| HEIGHT).sum();
    write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    )
    .unwrap();
    let mut top = 0.0;
    for panel in panels {
        draw_panel(&mut svg, panel, top);
        top += HEIGHT;
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_panel(svg: &mut String, panel: &Panel, top: f64) {
    let (left, offset, width, height) = PLOT;
    let scale = |value: f64| if panel.logarithmic { value.max(1e-9).log10() } else { value };
    let points = || panel.lines.iter().flat_map(|line| &line.points);
    let range = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)))
    };
    let (x_low, x_high) = range(&mut points().map(|point| scale(point.0)));
    let (y_low, y_high) = range(&mut points().map(|point| scale(point.1)));
    let x = |value: f64| left + width * (scale(value) - x_low) / (x_high - x_low).max(1e-9);
    let y = |value: f64| top + offset + height * (y_high - scale(value)) / (y_high - y_low).max(1e-9);
    let bottom = top + offset + height;
    write!(
        svg,
        "<text x=\"{left}\" y=\"{:.0}\" font-size=\"13\" font-weight=\"bold\">{}</text>\n\
         <rect x=\"{left}\" y=\"{:.0}\" width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"#999999\"/>\n\
         <text x=\"{left}\" y=\"{:.0}\">{}</text>\n<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>\n",
        top + 16.0,
        panel.title,
        top + offset,
        top + 29.0,
        panel.y,
        left + width / 2.0,
        bottom + 30.0,
        panel.x,
    )
    .unwrap();
    for tick in 0..=4_u8 {
        let share = f64::from(tick) / 4.0;
        let unscale = |value: f64| if panel.logarithmic { 10_f64.powf(value) } else { value };
        let (at_x, at_y) = (unscale(x_low + share * (x_high - x_low)), unscale(y_low + share * (y_high - y_low)));
        write!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{}</text>\n\
             <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\n",
            x(at_x),
            bottom + 14.0,
            label(at_x),
            left - 5.0,
            y(at_y) + 4.0,
            label(at_y),
        )
        .unwrap();
    }
    for (line, (colour, row)) in panel.lines.iter().zip(COLOURS.iter().cycle().zip(0_u8..)) {
        let path: Vec<_> = line.points.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1))).collect();
        let legend = top + offset + 12.0 + 18.0 * f64::from(row);
        write!(
            svg,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\" points=\"{}\"/>\n\
             <text x=\"{:.0}\" y=\"{legend:.0}\" fill=\"{colour}\">{}</text>\n",
            path.join(" "),
            left + width + 14.0,
            line.name,
        )
        .unwrap();
    }
}

/// Returns a number with few digits.
fn label(value: f64) -> String {
    if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}").trim_end_matches(".0").to_owned()
    } else {
        format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}
