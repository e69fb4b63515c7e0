//! Output of tasks, in frames that tell stdout from stderr.

use std::collections::BTreeMap;
use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use swarm_node::{LogOptions, TaskLine};
use swarm_state::object::Task;
use swarm_state::{ServiceId, TaskId};
use tokio::sync::mpsc;

use crate::app::App;
use crate::clock;
use crate::error::ApiError;
use crate::extract::Params;

/// `docker service logs` of a service.
pub(crate) async fn of_service(
    State(app): State<App>,
    Path(term): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    let tasks = app.find(|state| {
        let service = state.find_service(&term)?.id;
        Ok(state.tasks_of(service).cloned().collect::<Vec<_>>())
    })?;
    answer(&app, &tasks, &params).await
}

/// `docker service logs` of a task.
pub(crate) async fn of_task(
    State(app): State<App>,
    Path(term): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    let task = app.find(|state| state.find_task(&term).cloned())?;
    answer(&app, &[task], &params).await
}

async fn answer(app: &App, tasks: &[Task], params: &Params) -> Result<Response, ApiError> {
    let options = options(params)?;
    let terminal = |task: &Task| task.spec.container_spec.as_ref().is_some_and(|container| container.tty);
    let style = Style {
        details: params.flag("details"),
        timestamps: params.flag("timestamps"),
        framed: !tasks.iter().any(terminal),
        services: tasks.iter().map(|task| (task.id, task.service_id)).collect(),
    };
    let kind = if style.framed { FRAMED } else { RAW };
    let lines = app.node.logs(tasks.iter().map(|task| task.id).collect(), options).await?;
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(frames(lines, style))).into_response())
}

fn options(params: &Params) -> Result<LogOptions, ApiError> {
    let (stdout, stderr) = (params.flag("stdout"), params.flag("stderr"));
    if !stdout && !stderr {
        return Err(ApiError::bad_request("Bad parameters: you must choose at least one stream"));
    }
    let since = match params.text("since") {
        "" => 0,
        text => {
            let wrong = || ApiError::bad_request(format!("invalid value for \"since\": {text}"));
            u64::try_from(clock::parse(text).ok_or_else(wrong)?.as_nanos()).unwrap_or(0)
        }
    };
    let tail = params.text("tail").parse().ok(); // anything else means all, as Docker
    Ok(LogOptions { follow: params.flag("follow"), tail, since_ns: since, stdout, stderr })
}

/// How lines are written.
#[derive(Debug)]
struct Style {
    details: bool,
    timestamps: bool,
    framed: bool,
    services: BTreeMap<TaskId, ServiceId>,
}

fn frames(lines: mpsc::Receiver<TaskLine>, style: Style) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold((lines, style), |(mut lines, style)| async move {
        let line = lines.recv().await?;
        Some((Ok(frame(&line, &style)), (lines, style)))
    })
}

/// `time details line` behind eight bytes: the stream, three zeros, the length.
fn frame(line: &TaskLine, style: &Style) -> Bytes {
    let mut text = Vec::with_capacity(line.line.len().saturating_add(256));
    if style.timestamps {
        text.extend_from_slice(clock::aligned(line.at_ns).as_bytes());
        text.push(b' ');
    }
    if style.details {
        let service = style.services.get(&line.task).map(ToString::to_string).unwrap_or_default();
        let details = format!(
            "com.docker.swarm.node.id={},com.docker.swarm.service.id={service},com.docker.swarm.task.id={} ",
            line.node, line.task
        );
        text.extend_from_slice(details.as_bytes());
    }
    text.extend_from_slice(&line.line);
    if !style.framed {
        return text.into();
    }
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX); // lines are far shorter
    let mut framed = Vec::with_capacity(text.len().saturating_add(8));
    framed.extend_from_slice(&[line.stream.number(), 0, 0, 0]);
    framed.extend_from_slice(&len.to_be_bytes());
    framed.append(&mut text);
    framed.into()
}

const FRAMED: &str = "application/vnd.docker.multiplexed-stream";
const RAW: &str = "application/vnd.docker.raw-stream";

#[cfg(test)]
mod tests {
    use swarm_node::runtime::Stream;
    use swarm_state::NodeId;

    use super::*;

    fn line(stream: Stream) -> TaskLine {
        TaskLine {
            task: "ihmv6ft1qpom7orete3t0loj7".parse().unwrap(),
            node: "vdwu6vrvdjdpj8li7epy5cfze".parse::<NodeId>().unwrap(),
            stream,
            at_ns: 1_795_316_825_221_022_526,
            line: b"[::ffff:10.0.1.9]:39492: response:200\n".to_vec(),
        }
    }

    fn style(details: bool, timestamps: bool) -> Style {
        let service = "trsijjxxivbaus0h3gu8k5l1r".parse().unwrap();
        Style {
            details,
            timestamps,
            framed: true,
            services: BTreeMap::from([(line(Stream::Stdout).task, service)]),
        }
    }

    #[test]
    fn details_are_framed_as_recorded() {
        let transcript = include_str!("../tests/transcripts/service_logs.json");
        let transcript: serde_json::Value = serde_json::from_str(transcript).unwrap();
        let exchanges = transcript["exchanges"].as_array().unwrap();
        let body =
            exchanges.iter().find_map(|exchange| exchange["response"]["body"]["_base64"].as_str()).unwrap();
        let recorded = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body).unwrap();
        assert_eq!(frame(&line(Stream::Stderr), &style(true, false)), recorded);
    }

    #[test]
    fn times_come_first_and_have_nine_decimals() {
        let framed = frame(&line(Stream::Stdout), &style(true, true));
        assert_eq!(framed[0], 1);
        assert_eq!(
            usize::try_from(u32::from_be_bytes(framed[4..8].try_into().unwrap())).unwrap(),
            framed.len() - 8
        );
        let text = String::from_utf8(framed[8..].to_vec()).unwrap();
        assert!(text.starts_with("2026-11-22T03:07:05.221022526Z com.docker.swarm.node.id=vdwu"), "{text}");
    }

    #[test]
    fn a_terminal_is_not_framed() {
        let raw = frame(&line(Stream::Stdout), &Style { framed: false, ..style(false, false) });
        assert_eq!(raw, line(Stream::Stdout).line);
    }
}
