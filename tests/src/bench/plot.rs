//! How many streams run, and when: a picture.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::figures::{Course, Run};

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 200.0;
/// Room for what is written beside and below.
const MARGIN: f64 = 45.0;
/// In which colour whose line is.
const COLOURS: [&str; 4] = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd"];

/// One panel for each size of run, and in it a line for each operator and one for the bare loop: of those runs of one size
/// the one whose operator took the median time. SVG.
pub fn of(runs: &[Run]) -> String {
    let mut panels: BTreeMap<(usize, usize), BTreeMap<String, Vec<&Course>>> = BTreeMap::new();
    for run in runs {
        let panel = panels.entry((run.streams, run.classes)).or_default();
        panel.entry(run.label.clone()).or_default().push(&run.operator);
        if let Some(bare) = &run.bare {
            panel.entry("the bare loop".to_owned()).or_default().push(bare);
        }
    }
    let (wide, high) = (WIDTH + 2.0 * MARGIN, (HEIGHT + 2.0 * MARGIN) * panels.len() as f64);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide} {high}\" width=\"{wide}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (at, ((streams, classes), lines)) in panels.iter().enumerate() {
        let top = MARGIN + (HEIGHT + 2.0 * MARGIN) * at as f64;
        panel(
            &mut svg,
            top,
            &format!("{streams} streams of {classes} class{}", if *classes == 1 { "" } else { "es" }),
            lines,
        );
    }
    svg + "</svg>\n"
}

fn panel(svg: &mut String, top: f64, title: &str, lines: &BTreeMap<String, Vec<&Course>>) {
    let curves: Vec<(&String, &Vec<f64>)> = lines.iter().filter_map(|(name, all)| Some((name, middle(all)?))).collect();
    let longest = curves.iter().filter_map(|(_, curve)| curve.last()).fold(1.0_f64, |longest, &end| longest.max(end));
    let (x, y) = (|seconds: f64| MARGIN + seconds / longest * WIDTH, |part: f64| top + (1.0 - part) * HEIGHT);
    let _ = writeln!(svg, "<text x=\"{MARGIN}\" y=\"{}\" font-weight=\"bold\">{title}: % running</text>", top - 10.0);
    for quarter in 0..=4 {
        let part = f64::from(quarter) / 4.0;
        let (across, up) = (x(part * longest), y(part));
        let (right, bottom) = (MARGIN + WIDTH, top + HEIGHT);
        let _ = writeln!(
            svg,
            "<path d=\"M{MARGIN} {up:.1}H{right}M{across:.1} {top}V{bottom}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\
             <text x=\"{across:.1}\" y=\"{}\" text-anchor=\"middle\">{:.1} s</text>",
            MARGIN - 5.0,
            up + 4.0,
            quarter * 25,
            bottom + 15.0,
            part * longest,
        );
    }
    for (at, (name, curve)) in curves.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let steps = curve.len().saturating_sub(1).max(1) as f64;
        let points: Vec<String> = curve
            .iter()
            .enumerate()
            .map(|(at, &seconds)| format!("{:.1},{:.1}", x(seconds), y(at as f64 / steps)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{name}</text>",
            points.join(" "),
            MARGIN + 10.0,
            top + 15.0 + 14.0 * at as f64,
        );
    }
}

/// The curve of that course whose end is in the middle.
fn middle<'c>(courses: &[&'c Course]) -> Option<&'c Vec<f64>> {
    let mut curves: Vec<&Vec<f64>> =
        courses.iter().map(|course| &course.curve).filter(|curve| !curve.is_empty()).collect();
    let end = |curve: &Vec<f64>| curve.last().copied().unwrap_or_default();
    curves.sort_by(|one, other| end(one).total_cmp(&end(other)));
    curves.get(curves.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_has_a_panel_and_each_operator_a_line() {
        let run = |streams, label: &str| Run {
            label: label.into(),
            streams,
            operator: Course { curve: vec![1.0, 2.0, 4.0], ..Course::default() },
            bare: Some(Course { curve: vec![1.0, 2.0, 3.0], ..Course::default() }),
            ..Run::default()
        };
        let svg = of(&[run(100, "a"), run(100, "b"), run(1000, "a")]);
        assert_eq!((svg.matches("% running").count(), svg.matches("<polyline").count()), (2, 5));
        assert!(svg.contains(&format!("{:.1},{:.1}", MARGIN + WIDTH, MARGIN)), "the end of the longest line: {svg}");
    }
}
