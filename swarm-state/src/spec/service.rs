//! What a service is asked to be.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Number;

use super::lenient::{is_default, nullable};
use super::word::words;
use super::{EndpointSpec, Extra, Labels, Nanos, NetworkTarget, TaskSpec};

/// The body of `POST /services/create` and of updates.
///
/// ```
/// use swarm_state::spec::ServiceSpec;
///
/// let spec: ServiceSpec = serde_json::from_str(r#"{"Name":"web","Mode":{"Replicated":{}},"New":1}"#)?;
/// assert_eq!(spec.replicas(), Some(1));
/// assert!(serde_json::to_string(&spec)?.contains(r#""New":1"#));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ServiceSpec {
    /// Unique among services.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// Labels of the service.
    #[serde(deserialize_with = "nullable")]
    pub labels: Labels,
    /// What each task gets.
    #[serde(deserialize_with = "nullable")]
    pub task_template: TaskSpec,
    /// How many tasks.
    #[serde(deserialize_with = "nullable")]
    pub mode: Mode,
    /// How tasks are replaced when the template changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_config: Option<UpdateConfig>,
    /// The same for going back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_config: Option<UpdateConfig>,
    /// Old place of [`TaskSpec::networks`].
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<NetworkTarget>,
    /// How clients reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_spec: Option<EndpointSpec>,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

impl ServiceSpec {
    /// How many replicas are wanted; `None` if the service is not replicated. 1 if nothing is said, as Docker.
    pub fn replicas(&self) -> Option<u64> {
        match &self.mode {
            Mode::Replicated(replicated) => Some(replicated.replicas.unwrap_or(1)),
            Mode::Global(_) | Mode::ReplicatedJob(_) | Mode::GlobalJob(_) => None,
        }
    }

    /// Writes out the replicas that a replicated service has without saying so: clients take a missing number for no mode.
    pub fn fill_replicas(&mut self) {
        if let Mode::Replicated(replicated) = &mut self.mode {
            replicated.replicas.get_or_insert(1);
        }
    }

    /// The endpoint, with Docker's defaults.
    pub fn endpoint(&self) -> EndpointSpec {
        self.endpoint_spec.clone().unwrap_or_default()
    }

    /// The networks of the tasks: of the template, else of the old field.
    pub fn task_networks(&self) -> &[NetworkTarget] {
        if self.task_template.networks.is_empty() { &self.networks } else { &self.task_template.networks }
    }
}

/// How many tasks a service has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mode {
    /// A number of them.
    Replicated(Replicated),
    /// One on each node.
    Global(GlobalMode),
    /// Until a number of them has completed.
    ReplicatedJob(JobMode),
    /// Until one has completed on each node.
    GlobalJob(GlobalMode),
}

impl Mode {
    /// The name of the mode as `docker service ls` prints it.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Replicated(_) => "replicated",
            Self::Global(_) => "global",
            Self::ReplicatedJob(_) => "replicated job",
            Self::GlobalJob(_) => "global job",
        }
    }

    /// Whether there is one task per node.
    pub const fn is_global(&self) -> bool {
        matches!(self, Self::Global(_) | Self::GlobalJob(_))
    }

    /// Whether tasks run until they complete.
    pub const fn is_job(&self) -> bool {
        matches!(self, Self::ReplicatedJob(_) | Self::GlobalJob(_))
    }
}

impl Default for Mode {
    fn default() -> Self {
        Self::Replicated(Replicated::default())
    }
}

/// The fields of [`Mode::Replicated`].
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Replicated {
    /// Absent means 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u64>,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The fields of [`Mode::ReplicatedJob`].
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct JobMode {
    /// Tasks at one time; absent means 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u64>,
    /// Tasks in all; absent means `max_concurrent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_completions: Option<u64>,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The (no) fields of [`Mode::Global`].
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct GlobalMode {
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

/// How tasks are replaced.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct UpdateConfig {
    /// Slots at one time; 0: all.
    #[serde(deserialize_with = "nullable")]
    pub parallelism: u64,
    /// Pause after each slot.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "is_default")]
    pub delay: Nanos,
    /// Absent means [`FailureAction::Pause`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_action: Option<FailureAction>,
    /// A task that ends within this time after its start has failed; 0 or absent: 5 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Nanos>,
    /// Share of failed tasks that is tolerated, 0 to 1.
    pub max_failure_ratio: Number,
    /// Absent means [`UpdateOrder::StopFirst`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<UpdateOrder>,
    /// Unknown fields.
    #[serde(flatten)]
    pub extra: Extra,
}

impl UpdateConfig {
    /// What holds when a service says nothing: one by one, 5 s monitor, pause on failure, stop first.
    pub fn docker_default() -> Self {
        Self { parallelism: 1, ..Self::default() }
    }

    /// The monitor time. 5 s, as Docker.
    pub fn monitor(&self) -> Nanos {
        self.monitor.filter(|monitor| monitor.0 > 0).unwrap_or(Nanos::from_secs(5))
    }

    /// What happens on failure. Pause, as Docker.
    pub fn failure_action(&self) -> FailureAction {
        self.failure_action.unwrap_or_default()
    }

    /// Which task goes first. The old one, as Docker.
    pub fn order(&self) -> UpdateOrder {
        self.order.unwrap_or_default()
    }

    /// The tolerated share of failures.
    pub fn max_failure_ratio(&self) -> f64 {
        self.max_failure_ratio.as_f64().unwrap_or(0.0)
    }
}

impl Default for UpdateConfig {
    fn default() -> Self {
        Self {
            parallelism: 0,
            delay: Nanos::default(),
            failure_action: None,
            monitor: None,
            max_failure_ratio: Number::from(0),
            order: None,
            extra: Extra::new(),
        }
    }
}

words! {
    /// What happens when too many tasks of an update fail.
    FailureAction {
        /// Stop updating.
        Pause = "pause",
        /// Go on.
        Continue = "continue",
        /// Go back to the previous spec.
        Rollback = "rollback",
    }

    /// Which task of a slot goes first.
    UpdateOrder {
        /// Stop the old one, then start the new one.
        StopFirst = "stop-first",
        /// Start the new one, then stop the old one.
        StartFirst = "start-first",
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut wire = ModeWire::default();
        match self {
            Self::Replicated(mode) => wire.replicated = Some(mode.clone()),
            Self::Global(mode) => wire.global = Some(mode.clone()),
            Self::ReplicatedJob(mode) => wire.replicated_job = Some(mode.clone()),
            Self::GlobalJob(mode) => wire.global_job = Some(mode.clone()),
        }
        wire.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match ModeWire::deserialize(deserializer)? {
            ModeWire { replicated: Some(mode), global: None, replicated_job: None, global_job: None } => {
                Ok(Self::Replicated(mode))
            }
            ModeWire { replicated: None, global: Some(mode), replicated_job: None, global_job: None } => {
                Ok(Self::Global(mode))
            }
            ModeWire { replicated: None, global: None, replicated_job: Some(mode), global_job: None } => {
                Ok(Self::ReplicatedJob(mode))
            }
            ModeWire { replicated: None, global: None, replicated_job: None, global_job: Some(mode) } => {
                Ok(Self::GlobalJob(mode))
            }
            ModeWire { replicated: None, global: None, replicated_job: None, global_job: None } => {
                Ok(Self::default())
            }
            ModeWire { .. } => Err(serde::de::Error::custom("must specify only one service mode")),
        }
    }
}

/// One key out of four, as the API writes the mode.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ModeWire {
    #[serde(skip_serializing_if = "Option::is_none")]
    replicated: Option<Replicated>,
    #[serde(skip_serializing_if = "Option::is_none")]
    global: Option<GlobalMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replicated_job: Option<JobMode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    global_job: Option<GlobalMode>,
}
