//! The ratios as bars: how much more CPU each peer takes than Larder, on a scale that doubles.

use std::fmt::Write;

use super::measure::Compared;

const WIDTH: f64 = 860.0;
/// Where the bars begin; to the left stand the labels.
const LEFT: f64 = 250.0;
const RIGHT: f64 = 800.0;
const TOP: f64 = 64.0;
const ROW: f64 = 18.0;
/// Width of a number.
const NUMBER: f64 = 40.0;
/// Between two jobs.
const GAP: f64 = 24.0;

/// Both ends of the scale, as powers of two; what lies beyond ends there.
const FROM: f64 = -1.0;
const TO: f64 = 5.0;

const STYLE: &str = "text{font:12px sans-serif;fill:#222}.job{font-weight:bold}.number{fill:#555}\
                     .sharp{fill:#3b7dd8}.pyvips{fill:#8a63c9}.pillow{fill:#c98a2b}\
                     .grid{stroke:#ddd}.even{stroke:#222}.goal{stroke:#c22;stroke-width:2.5}";

/// Bars for every job, with its goals as lines.
pub fn svg(compared: &[Compared]) -> String {
    let mut bars = String::new();
    let mut y = TOP;
    let mut job = "";
    for one in compared {
        if one.job.name != job {
            job = one.job.name;
            y += GAP;
            text(&mut bars, (8.0, y - 6.0), "job", &format!("{job}: {}", one.job.doc));
        }
        bar(&mut bars, one, y);
        y += ROW;
    }
    let height = y + 12.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>CPU seconds of the peers over Larder's</title>\n<style>{STYLE}</style>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    text(&mut svg, (8.0, 20.0), "job", "CPU seconds of each peer / Larder's (median)");
    text(&mut svg, (8.0, 38.0), "number", "longer is better for Larder; black line: equal, red line: goal");
    for power in FROM as i32..=TO as i32 {
        let ratio = f64::from(power).exp2();
        let class = if power == 0 { "even" } else { "grid" };
        line(&mut svg, class, place(ratio), (TOP, y));
        text(&mut svg, (place(ratio) - 8.0, TOP - 6.0), "number", &format!("{ratio}x"));
    }
    svg + &bars + "</svg>\n"
}

/// Begins at the line of equality, to the left of it where Larder takes more.
fn bar(svg: &mut String, one: &Compared, y: f64) {
    let ratio = one.ratio.median;
    let (from, to) = (place(ratio.min(1.0)), place(ratio.max(1.0)));
    let class = one.rival.peer.name().to_lowercase();
    text(svg, (20.0, y + 13.0), "", &one.rival.label(one.job));
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
        y + 2.0,
        to - from,
        ROW - 4.0
    );
    let goal = one.rival.goal.map(place);
    if let Some(goal) = goal {
        line(svg, "goal", goal, (y, y + ROW));
    }
    // Behind the goal where that would cross it.
    let end = goal.filter(|goal| (to..to + NUMBER).contains(goal)).unwrap_or(to);
    text(svg, (end + 6.0, y + 13.0), "number", &format!("{ratio:.2}"));
}

fn place(ratio: f64) -> f64 {
    LEFT + (ratio.log2().clamp(FROM, TO) - FROM) / (TO - FROM) * (RIGHT - LEFT)
}

fn line(svg: &mut String, class: &str, x: f64, (from, to): (f64, f64)) {
    let _ = writeln!(
        svg,
        "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{from:.1}\" y2=\"{to:.1}\"/>"
    );
}

fn text(svg: &mut String, (x, y): (f64, f64), class: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{text}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_doubles_and_ends() {
        let step = place(2.0) - place(1.0);
        assert!((place(16.0) - place(8.0) - step).abs() < 1e-9);
        assert_eq!(place(1e9), RIGHT);
        assert_eq!(place(1e-9), LEFT);
    }
}
