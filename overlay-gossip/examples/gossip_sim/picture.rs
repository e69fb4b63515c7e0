//! The time to agreement and its cost, for growing clusters, as a picture.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use overlay_gossip::sim::script::{Plan, Script};

use crate::args::Args;

/// A line of the picture.
#[derive(Debug)]
struct Curve {
    label: &'static str,
    color: &'static str,
    /// Nodes, and the value.
    points: Vec<(f64, f64)>,
}

struct Axes {
    title: &'static str,
    unit: &'static str,
    left: f64,
    /// Least and most value.
    values: (f64, f64),
}

/// Runs the scripts for growing clusters and writes the picture.
pub(crate) fn draw(file: &Path, args: &Args) -> Result<(), Box<dyn Error>> {
    let scripts = [
        (Script::JoinStorm, "last_pair", "all join at once", "#b8540b", 1000),
        (Script::Newcomer, "last_knows", "one joins", "#2f7d32", usize::MAX),
        (Script::Crash, "last_knows", "a process is killed", "#1a5fb4", usize::MAX),
        (Script::Blackhole, "last_knows", "a host falls silent", "#7a3b8f", usize::MAX),
    ];
    let sizes: Vec<usize> = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000]
        .into_iter()
        .filter(|n| *n <= args.nodes)
        .collect();
    let mut times = Vec::new();
    for (script, what, label, color, most) in scripts {
        let mut points = Vec::new();
        for nodes in sizes.iter().filter(|n| **n <= most) {
            points.push((*nodes as f64, median(args, script, *nodes, what)));
        }
        times.push(Curve { label, color, points });
    }
    let mut costs = Vec::new();
    for (script, label, color) in [
        (Script::Idle, "nothing happens (B/s)", "#2f7d32"),
        (Script::Newcomer, "one joins (B in all)", "#b8540b"),
    ] {
        let points = sizes.iter().map(|n| (*n as f64, median(args, script, *n, "bytes_per_node"))).collect();
        costs.push(Curve { label, color, points });
    }
    let left = Axes { title: "until all agree", unit: "s", left: 60.0, values: (0.1, 20.0) };
    let right = Axes { title: "sent by each node", unit: "B", left: 520.0, values: (10.0, 10_000.0) };
    let body = chart(&left, &times) + &chart(&right, &costs);
    std::fs::write(file, page(&body))?;
    println!("{} is drawn", file.display());
    Ok(())
}

/// The middle of a few runs.
fn median(args: &Args, script: Script, nodes: usize, what: &str) -> f64 {
    let plan = Plan { script, nodes, ..args.plan() };
    let runs = if nodes > 500 { 1 } else { 5 };
    let mut values: Vec<f64> = (args.seed..args.seed + runs)
        .filter_map(|seed| {
            let (outcome, _) = crate::run(&plan, seed, &format!("{script}, {nodes} nodes"));
            outcome.figures.iter().find(|figure| figure.what == what).map(|figure| figure.value)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    let value = values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
    eprintln!("{script} with {nodes} nodes: {value:.2}");
    value
}

fn chart(axes: &Axes, curves: &[Curve]) -> String {
    let x = |nodes: f64| axes.left + 340.0 * (nodes / 10.0).log10() / 3.0;
    let (least, most) = axes.values;
    let y = |value: f64| 300.0 - 230.0 * (value.clamp(least, most) / least).log10() / (most / least).log10();
    let mut out = format!("<text x='{}' y='30' class='title'>{}</text>\n", axes.left, axes.title);
    for nodes in [10.0, 100.0, 1000.0, 10_000.0] {
        let at = x(nodes);
        let _ = writeln!(out, "<line x1='{at:.1}' x2='{at:.1}' y1='70' y2='300' class='grid'/>");
        let _ = writeln!(out, "<text x='{at:.1}' y='318' text-anchor='middle'>{nodes}</text>");
    }
    let mut value = least;
    while value <= most {
        let at = y(value);
        let end = axes.left + 340.0;
        let _ = writeln!(out, "<line x1='{}' x2='{end}' y1='{at:.1}' y2='{at:.1}' class='grid'/>", axes.left);
        let label = axes.left - 6.0;
        let _ = writeln!(
            out,
            "<text x='{label}' y='{:.1}' text-anchor='end'>{value} {}</text>",
            at + 4.0,
            axes.unit
        );
        value *= 10.0;
    }
    for (n, curve) in curves.iter().enumerate() {
        let points: Vec<String> =
            curve.points.iter().map(|(n, v)| format!("{:.1},{:.1}", x(*n), y(*v))).collect();
        let color = curve.color;
        let _ = writeln!(out, "<polyline points='{}' stroke='{color}'/>", points.join(" "));
        for point in &curve.points {
            let _ = writeln!(
                out,
                "<circle cx='{:.1}' cy='{:.1}' r='3' fill='{color}'><title>{} nodes: {:.2} {}</title></circle>",
                x(point.0),
                y(point.1),
                point.0,
                point.1,
                axes.unit
            );
        }
        let (column, row) = ((n % 2) as f64, (n / 2) as f64);
        let (at, line) = (axes.left + 180.0 * column, 48.0 + 15.0 * row);
        let _ = writeln!(out, "<text x='{at}' y='{line}' fill='{color}'>{}</text>", curve.label);
    }
    out
}

fn page(body: &str) -> String {
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 900 345' font-family='sans-serif' font-size='12'>\n\
         <style>.grid{{stroke:#ccc;stroke-width:1}} polyline{{fill:none;stroke-width:2}} \
         .title{{font-size:15px;font-weight:bold}}</style>\n\
         <rect width='900' height='345' fill='white'/>\n{body}\
         <text x='450' y='338' text-anchor='middle'>nodes (simulated; timers of memberlist on a LAN)</text>\n</svg>\n"
    )
}
