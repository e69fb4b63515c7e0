//! `GET /events`: what changes in the cluster, as it happens.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};
use serde::Serialize;
use swarm_state::{Change, ObjectKind, Timestamp};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use crate::app::App;
use crate::clock;
use crate::error::ApiError;
use crate::extract::Params;
use crate::filters::Filters;

/// `docker events`.
pub(crate) async fn events(State(app): State<App>, params: Params) -> Result<Response, ApiError> {
    let filters = params.filters(FILTERS)?;
    let (since, until) = (bound(&params, "since")?, bound(&params, "until")?);
    let (lately, live) = app.journal.subscribe();
    let backlog = lately.into_iter().filter(|event| since.is_some_and(|since| event.at() >= since)).collect();
    let lines = lines(Watch { backlog, live, filters, until });
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response())
}

/// What has happened lately, and who waits for more.
#[derive(Debug)]
pub(crate) struct Journal {
    pages: Mutex<Pages>,
    live: broadcast::Sender<Arc<Event>>,
}

#[derive(Debug)]
struct Pages {
    changes: broadcast::Receiver<Change>,
    lately: VecDeque<Arc<Event>>,
}

impl Journal {
    /// A journal of changes. It ends when they do, or when nobody has it any more.
    pub(crate) fn follow(changes: broadcast::Receiver<Change>) -> Arc<Self> {
        let mut bell = changes.resubscribe();
        let pages = Mutex::new(Pages { changes, lately: VecDeque::new() });
        let journal = Arc::new(Self { pages, live: broadcast::channel(KEPT).0 });
        let kept = Arc::downgrade(&journal);
        tokio::spawn(async move {
            while !matches!(bell.recv().await, Err(RecvError::Closed)) {
                let Some(journal) = kept.upgrade() else { return };
                drop(journal.pages());
            }
        });
        journal
    }

    /// How many wait for events.
    pub(crate) fn listeners(&self) -> usize {
        self.live.receiver_count()
    }

    /// The journal with all that has happened up to now, even if the task that writes it has not had its turn.
    fn pages(&self) -> MutexGuard<'_, Pages> {
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let change = match pages.changes.try_recv() {
                Ok(change) => change,
                Err(TryRecvError::Lagged(_)) => continue, // the stream is a convenience; objects tell the truth
                Err(TryRecvError::Empty | TryRecvError::Closed) => return pages,
            };
            let Some(event) = Event::of(&change, clock::now()).map(Arc::new) else { continue };
            pages.lately.push_back(Arc::clone(&event));
            if pages.lately.len() > KEPT {
                pages.lately.pop_front();
            }
            let _ = self.live.send(event); // nobody listens
        }
    }

    fn subscribe(&self) -> (VecDeque<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let pages = self.pages();
        (pages.lately.clone(), self.live.subscribe())
    }
}

/// One event.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Event {
    #[serde(rename = "Type")]
    kind: &'static str,
    #[serde(rename = "Action")]
    action: &'static str,
    #[serde(rename = "Actor")]
    actor: Actor,
    scope: &'static str,
    time: i64,
    #[serde(rename = "timeNano")]
    time_nano: i64,
}

/// What an event is about.
#[derive(Clone, Debug, Serialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Attributes")]
    attributes: BTreeMap<String, String>,
}

impl Event {
    /// The event of a change; none for what Docker keeps to itself.
    fn of(change: &Change, at: Timestamp) -> Option<Self> {
        if matches!(change.kind, ObjectKind::Cluster | ObjectKind::Task) {
            return None;
        }
        let mut attributes = BTreeMap::from([("name".to_owned(), change.name.clone())]);
        for (what, before, after) in &change.details {
            attributes.insert(format!("{what}.new"), after.clone());
            attributes.insert(format!("{what}.old"), before.clone());
        }
        Some(Self {
            kind: change.kind.as_str(),
            action: change.event.as_str(),
            actor: Actor { id: change.id.clone(), attributes },
            scope: "swarm",
            time: at.as_nanos().div_euclid(1_000_000_000),
            time_nano: at.as_nanos(),
        })
    }

    const fn at(&self) -> Timestamp {
        Timestamp::from_nanos(self.time_nano)
    }

    fn fits(&self, filters: &Filters) -> bool {
        let is = |value: &str| {
            self.actor.id == value || self.actor.attributes.get("name").is_some_and(|name| name == value)
        };
        let about = |key: &str| filters.any(key, |value| self.kind == key && is(value));
        let kinds = ["config", "network", "node", "secret", "service"];
        let never = ["container", "daemon", "image", "label", "plugin", "volume"];
        filters.exact("type", self.kind)
            && filters.exact("event", self.action)
            && filters.exact("scope", self.scope)
            && kinds.into_iter().all(about)
            && never.into_iter().all(|key| filters.any(key, |_| false))
    }
}

/// Somebody who waits for events.
struct Watch {
    backlog: VecDeque<Arc<Event>>,
    live: broadcast::Receiver<Arc<Event>>,
    filters: Filters,
    until: Option<Timestamp>,
}

fn lines(watch: Watch) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(watch, |mut watch| async move {
        let event = watch.next().await?;
        let mut line = serde_json::to_vec(&*event).unwrap_or_default(); // all keys are strings
        line.push(b'\n');
        Some((Ok(Bytes::from(line)), watch))
    })
}

impl Watch {
    /// The next event that is wanted; `None` when the time is over.
    async fn next(&mut self) -> Option<Arc<Event>> {
        loop {
            let event = match self.backlog.pop_front() {
                Some(event) => event,
                None => self.wait().await?,
            };
            if self.until.is_some_and(|until| event.at() > until) {
                return None;
            }
            if event.fits(&self.filters) {
                return Some(event);
            }
        }
    }

    async fn wait(&mut self) -> Option<Arc<Event>> {
        loop {
            let received = match self.until {
                None => self.live.recv().await,
                Some(until) => {
                    let left = until.since(clock::now());
                    tokio::time::timeout(left, self.live.recv()).await.ok()?
                }
            };
            match received {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

fn bound(params: &Params, name: &str) -> Result<Option<Timestamp>, ApiError> {
    let text = params.text(name);
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || ApiError::bad_request(format!("invalid {name} '{text}': neither seconds nor RFC 3339"));
    clock::parse(text).map(Some).ok_or_else(wrong)
}

/// Events that are kept for `since`. 256, as Docker.
const KEPT: usize = 256;

const FILTERS: &[&str] = &[
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use swarm_state::ChangeEvent;

    use super::*;

    fn change(kind: ObjectKind, name: &str) -> Change {
        let details = vec![("state".to_owned(), "ready".to_owned(), "down".to_owned())];
        Change { kind, id: "1".repeat(25), name: name.to_owned(), event: ChangeEvent::Updated, details }
    }

    fn filters(json: &str) -> Filters {
        Filters::parse(json, FILTERS).unwrap()
    }

    #[test]
    fn a_change_is_an_event_with_old_and_new() {
        let event = Event::of(&change(ObjectKind::Node, "n1"), Timestamp::from_millis(1500)).unwrap();
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "Type": "node", "Action": "update", "scope": "swarm", "time": 1, "timeNano": 1_500_000_000,
                "Actor": {"ID": "1".repeat(25), "Attributes": {"name": "n1", "state.new": "down", "state.old": "ready"}},
            })
        );
        assert!(Event::of(&change(ObjectKind::Task, "web.1"), Timestamp::default()).is_none());
    }

    #[test]
    fn filters_choose_events() {
        let event = Event::of(&change(ObjectKind::Node, "n1"), Timestamp::default()).unwrap();
        for yes in [r#"{"type":["node"]}"#, r#"{"node":["n1"]}"#, r#"{"event":["update","create"]}"#, "{}"] {
            assert!(event.fits(&filters(yes)), "{yes}");
        }
        for no in
            [r#"{"type":["network"]}"#, r#"{"node":["n2"]}"#, r#"{"network":["n1"]}"#, r#"{"label":["a"]}"#]
        {
            assert!(!event.fits(&filters(no)), "{no}");
        }
    }

    #[tokio::test]
    async fn a_watch_sees_what_was_and_what_comes_until_its_end() {
        let (sender, receiver) = broadcast::channel(16);
        let journal = Journal::follow(receiver);
        sender.send(change(ObjectKind::Network, "one")).unwrap();
        let (backlog, live) = journal.subscribe();
        assert_eq!(backlog.len(), 1, "without a turn of the task that follows");
        sender.send(change(ObjectKind::Network, "two")).unwrap();
        let until = Some(clock::now().plus(std::time::Duration::from_millis(200)));
        let watch = Watch { backlog, live, filters: filters("{}"), until };
        let all: Vec<_> =
            lines(watch).map(|line| String::from_utf8(line.unwrap().to_vec()).unwrap()).collect().await;
        assert_eq!(all.len(), 2);
        assert!(all[0].contains("one") && all[1].contains("two") && all[1].ends_with("}\n"));
    }
}
