//! Waiting until a service runs as wanted.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use super::VerbError;
use super::service::find;
use crate::api::{Client, filters, items, number, text};
use crate::{clock, out};

/// Looks until as many up-to-date tasks run as are wanted, and says so.
///
/// # Errors
///
/// [`VerbError::NotConverged`] after a minute, with the last error of a task.
pub(super) async fn until_converged(client: &Client, service: &str) -> Result<(), VerbError> {
    let begin = clock::now();
    let mut shown = String::new();
    loop {
        let found = find(client, service).await?;
        let id = text(&found, "/ID");
        let up_to_date = filters(&[("service", id), ("_up-to-date", "true")]);
        let tasks = client.get(&format!("/tasks?{up_to_date}")).await?;
        let nodes = client.get("/nodes").await?;
        let progress = Progress::of(&found, items(&tasks, ""), items(&nodes, ""));
        let line = progress.to_string();
        if line != shown {
            out::note(&line);
            shown = line;
        }
        if progress.running >= progress.wanted && !text(&found, "/UpdateStatus/State").starts_with("updat") {
            out::note(format_args!("Service {id} converged"));
            return Ok(());
        }
        let paused = ["paused", "rollback_paused"].contains(&text(&found, "/UpdateStatus/State"));
        if paused || begin.elapsed() > PATIENCE {
            let update = text(&found, "/UpdateStatus/Message").to_owned();
            let why = [progress.error, update, "its tasks do not run yet".to_owned()];
            return Err(VerbError::NotConverged {
                service: text(&found, "/Spec/Name").to_owned(),
                seconds: begin.elapsed().as_secs(),
                why: why.into_iter().find(|why| !why.is_empty()).unwrap_or_default(),
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

#[derive(Debug, Eq, PartialEq)]
struct Progress {
    running: usize,
    wanted: usize,
    /// The last error of a task.
    error: String,
}

impl Progress {
    fn of(service: &Value, tasks: &[Value], nodes: &[Value]) -> Self {
        let ready = |node: &&Value| {
            text(node, "/Status/State") == "ready" && text(node, "/Spec/Availability") == "active"
        };
        let wanted = match service.pointer("/Spec/Mode/Replicated") {
            Some(mode) if mode.get("Replicas").is_none() => 1,
            Some(mode) => usize::try_from(number(mode, "/Replicas")).unwrap_or(usize::MAX),
            None => nodes.iter().filter(ready).count(),
        };
        let runs = |task: &&Value| {
            text(task, "/Status/State") == "running" && text(task, "/DesiredState") == "running"
        };
        let error = tasks.iter().map(|task| text(task, "/Status/Err")).rfind(|error| !error.is_empty());
        Self {
            running: tasks.iter().filter(runs).count().min(wanted),
            wanted,
            error: error.unwrap_or_default().to_owned(),
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "overall progress: {} out of {} tasks", self.running, self.wanted)?;
        if self.error.is_empty() { Ok(()) } else { write!(f, " (last error: {})", self.error) }
    }
}

const POLL: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn progress_counts_running_tasks_and_keeps_the_last_error() {
        let task = |state: &str, desired: &str, error: &str| json!({"DesiredState": desired, "Status": {"State": state, "Err": error}});
        let tasks = [task("running", "running", ""), task("rejected", "shutdown", "No such image: x")];
        let service = json!({"Spec": {"Mode": {"Replicated": {"Replicas": 2}}}});
        let progress = Progress::of(&service, &tasks, &[]);
        assert_eq!(progress, Progress { running: 1, wanted: 2, error: "No such image: x".into() });
        let global = json!({"Spec": {"Mode": {"Global": {}}}});
        let node = |state: &str| json!({"Status": {"State": state}, "Spec": {"Availability": "active"}});
        assert_eq!(Progress::of(&global, &tasks, &[node("ready"), node("down")]).wanted, 1);
    }
}
