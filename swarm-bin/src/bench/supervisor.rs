//! The first process of the benchmark's own namespaces: builds the layouts, runs the rounds, tells the figures.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use overlay_linux::link::{LinkName, Netlink};
use overlay_linux::mount;
use overlay_linux::userns::{Namespaces, unshare};

use super::args::Plan;
use super::error::BenchError;
use super::lab::Built;
use super::launch::remove;
use super::layout::Layout;
use super::load::PATIENCE;
use super::measure::{Bench, Figure};
use super::micro;
use super::report::{Left, Report};
use crate::out;

/// Runs the benchmark in a PID namespace of its own (internal)
///
/// Standard input ends when whoever looks at it is gone.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    plan: Plan,
    /// Where the layouts keep their files
    #[arg(long)]
    dir: PathBuf,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// A layout that is ready to be measured.
struct Standing {
    layout: &'static Layout,
    built: Built,
}

impl RunArgs {
    /// Measures; the exit code says whether all that is installed could be measured.
    ///
    /// # Errors
    ///
    /// Nothing could be.
    pub(crate) fn run(self) -> Result<ExitCode, BenchError> {
        furnish()?;
        end_with_the_visible_process(self.dir.clone());
        let mut report = Report::new(self.plan.rounds, self.plan.seconds, self.plan.iperf3()?);
        out::note(self.plan.announced()?);
        micro::measure(&mut report)?;
        let bench = Bench { seconds: self.plan.seconds, iperf3: self.plan.iperf3()? };
        let standing = self.build(&bench, &mut report)?;
        self.rounds(&bench, standing, &mut report);
        out::line(if self.json { report.json().to_string() } else { report.text() });
        Ok(if report.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// Builds every layout; those that cannot be are left out and named.
    fn build(&self, bench: &Bench, report: &mut Report) -> Result<Vec<Standing>, BenchError> {
        let mut standing = Vec::new();
        for layout in self.plan.layouts()? {
            let built = layout.build(&self.dir, self.plan.tuning).and_then(|mut built| {
                bench.until_ready(&built)?;
                built.check().map(|()| built)
            });
            match built {
                Ok(built) => standing.push(Standing { layout, built }),
                Err(error) => self.leave_out(layout, &error, report),
            }
        }
        Ok(standing)
    }

    fn rounds(&self, bench: &Bench, mut standing: Vec<Standing>, report: &mut Report) {
        let widest = standing.iter().map(|one| one.layout.name.len()).max().unwrap_or_default();
        for round in 1..=self.plan.rounds {
            let mut broken = Vec::new();
            for one in &mut standing {
                let name = one.layout.name;
                match self.turn(bench, one, round, report) {
                    Ok(line) => {
                        out::note(format_args!(
                            "round {round} of {}  {name:widest$}{line}",
                            self.plan.rounds
                        ));
                    }
                    Err(error) => {
                        self.leave_out(one.layout, &error, report);
                        broken.push(name);
                    }
                }
            }
            standing.retain(|one| !broken.contains(&one.layout.name));
        }
        for one in standing.iter_mut().filter(|_| self.plan.stats) {
            for (plane, side) in one.built.planes.iter_mut().zip(["client", "server"]) {
                let said = plane.rest(PATIENCE).unwrap_or_else(|error| error.to_string());
                out::note(format_args!("\n{}, the {side}'s host\n{said}", one.layout.name));
            }
        }
    }

    /// All tests of a layout; returns what to tell people who watch.
    fn turn(
        &self,
        bench: &Bench,
        one: &mut Standing,
        round: u32,
        report: &mut Report,
    ) -> Result<String, BenchError> {
        let mut line = String::new();
        for test in self.plan.tests() {
            for Figure { measure, value } in bench.run(test, &one.built)? {
                report.sample(one.layout.name, measure, round, value);
                if measure.is_headline() {
                    line.extend(["   ", measure.name(), " ", &measure.shown(value)]);
                }
            }
            one.built.check()?;
        }
        Ok(line)
    }

    fn leave_out(&self, layout: &'static Layout, error: &BenchError, report: &mut Report) {
        if let BenchError::Absent { remedy, .. } = error {
            out::note(format_args!("absent: {} ({remedy})", layout.name));
            return report.leave_out(Left::Absent, layout.name, remedy.clone());
        }
        let log = std::fs::read_to_string(self.dir.join(layout.name).join("log")).unwrap_or_default();
        let said: Vec<_> = log.lines().rev().take(LOG_LINES).collect();
        out::note(format_args!("failed: {}: {error}", layout.name));
        for line in said.iter().rev() {
            out::note(format_args!("  {line}"));
        }
        report.leave_out(Left::Failed, layout.name, error.to_string());
    }
}

/// Makes the namespaces usable; before there are threads.
fn furnish() -> Result<(), BenchError> {
    let at = BenchError::system;
    unshare(Namespaces::NETWORK | Namespaces::MOUNT | Namespaces::IPC).map_err(at("make namespaces"))?;
    mount::make_private().map_err(at("make mounts private"))?;
    mount::proc(Path::new("/proc")).map_err(at("mount /proc"))?;
    mount::tmpfs(Path::new("/run"), RUN_BYTES).map_err(at("mount /run"))?; // sockets of programs that we start
    let loopback = LinkName::new("lo").map_err(io::Error::other).map_err(at("name the loopback"))?;
    Netlink::open().map_err(at("talk to the kernel about links"))?.set_up(&loopback)?;
    Ok(())
}

/// Standard input ends when the visible process does, whatever ended it; and with us all processes below.
fn end_with_the_visible_process(dir: PathBuf) {
    thread::spawn(move || {
        let _ = io::stdin().lock().read(&mut [0]);
        remove(&dir);
        std::process::exit(1);
    });
}

const RUN_BYTES: u64 = 4 << 20;
/// Lines of a log that are shown when a layout fails.
const LOG_LINES: usize = 8;
