//! Tasks.

use axum::Json;
use axum::extract::{Path, State};
use swarm_state::object::{Task, TaskState};
use swarm_state::{NodeId, ServiceId, State as Cluster};

use crate::app::App;
use crate::error::ApiError;
use crate::extract::Params;
use crate::filters::Filters;
use crate::nodes;
use crate::view::TaskView;

/// `docker service ps`, `docker node ps`, `docker stack ps`.
pub(crate) async fn list(State(app): State<App>, params: Params) -> Result<Json<Vec<TaskView>>, ApiError> {
    let filters = params.filters(&[
        "_up-to-date",
        "desired-state",
        "id",
        "label",
        "name",
        "node",
        "runtime",
        "service",
    ])?;
    let wanted = Wanted::new(&app, filters)?;
    let tasks = app.read(|state| {
        let fitting = state.tasks().values().filter(|task| wanted.fits(state, task));
        fitting.map(|task| TaskView::new(state, task)).collect()
    })?;
    Ok(Json(tasks))
}

/// `docker inspect` of a task.
pub(crate) async fn inspect(
    State(app): State<App>,
    Path(term): Path<String>,
) -> Result<Json<TaskView>, ApiError> {
    let view = app.find(|state| state.find_task(&term).map(|task| TaskView::new(state, task)))?;
    Ok(Json(view))
}

/// Which tasks are wanted, with names resolved.
struct Wanted {
    filters: Filters,
    services: Option<Vec<ServiceId>>,
    nodes: Option<Vec<NodeId>>,
    up_to_date: Option<bool>,
}

impl Wanted {
    fn new(app: &App, filters: Filters) -> Result<Self, ApiError> {
        filters.only("desired-state", STATES)?;
        let service = |term: &str| app.find(|state| Ok(state.find_service(term)?.id));
        let services: Vec<_> = filters.values("service").map(service).collect::<Result<_, _>>()?;
        let nodes: Vec<_> =
            filters.values("node").map(|term| nodes::find(app, term)).collect::<Result<_, _>>()?;
        Ok(Self {
            up_to_date: filters.switch("_up-to-date")?,
            services: (!services.is_empty()).then_some(services),
            nodes: (!nodes.is_empty()).then_some(nodes),
            filters,
        })
    }

    fn fits(&self, state: &Cluster, task: &Task) -> bool {
        let filters = &self.filters;
        let of_service = state.service(task.service_id).map(|service| &service.spec.labels);
        let labelled = filters.values("label").next().is_none()
            || of_service.is_some_and(|labels| filters.labels("label", labels));
        filters.prefix("id", task.id.as_str())
            && filters.prefix("name", &task.container_name())
            && filters.exact("desired-state", task.desired_state.as_str())
            && filters.exact("runtime", "container")
            && labelled
            && self.services.as_ref().is_none_or(|services| services.contains(&task.service_id))
            && self.nodes.as_ref().is_none_or(|nodes| task.node_id.is_some_and(|node| nodes.contains(&node)))
            && self.up_to_date.is_none_or(|wanted| state.is_up_to_date(task) == wanted)
    }
}

const STATES: &[&str] = &[
    TaskState::New.as_str(),
    TaskState::Pending.as_str(),
    TaskState::Assigned.as_str(),
    TaskState::Accepted.as_str(),
    TaskState::Preparing.as_str(),
    TaskState::Ready.as_str(),
    TaskState::Starting.as_str(),
    TaskState::Running.as_str(),
    TaskState::Complete.as_str(),
    TaskState::Shutdown.as_str(),
    TaskState::Failed.as_str(),
    TaskState::Rejected.as_str(),
    TaskState::Remove.as_str(),
    TaskState::Orphaned.as_str(),
];
