//! The phases of an Action and of its steps, and which may follow which.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where an Action stands; exactly Capact's phases. For display: the conditions are the contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Phase {
    /// Seen by nobody yet.
    #[default]
    Initial,
    /// The workflow is being made from the catalog.
    BeingRendered,
    /// Rendering waits for TypeInstances from its user.
    AdvancedModeRenderingIteration,
    /// The workflow is stored and waits for `spec.run`.
    ReadyToRun,
    /// Steps are at work.
    Running,
    /// The run was asked to stop.
    BeingCanceled,
    /// The run was stopped before its end.
    Canceled,
    /// The cluster said that every step did what it was for.
    Succeeded,
    /// A step, or the rendering, did not do what it was for.
    Failed,
}

impl Phase {
    /// Every phase, in the order of a run.
    pub const ALL: [Self; 9] = [
        Self::Initial,
        Self::BeingRendered,
        Self::AdvancedModeRenderingIteration,
        Self::ReadyToRun,
        Self::Running,
        Self::BeingCanceled,
        Self::Canceled,
        Self::Succeeded,
        Self::Failed,
    ];

    /// Tells whether the phase never changes again but by a new attempt.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Canceled | Self::Succeeded | Self::Failed)
    }

    /// Tells whether a run has begun and has not ended.
    pub const fn is_under_way(self) -> bool {
        matches!(self, Self::Running | Self::BeingCanceled)
    }

    /// Tells whether an Action in this phase may go to `next`: the transition table.
    pub const fn may_become(self, next: Self) -> bool {
        use Phase::{
            AdvancedModeRenderingIteration, BeingCanceled, BeingRendered, Canceled, Failed, Initial,
            ReadyToRun, Running, Succeeded,
        };
        match self {
            Initial => matches!(next, BeingRendered | Canceled | Failed),
            BeingRendered => matches!(next, AdvancedModeRenderingIteration | ReadyToRun | Canceled | Failed),
            AdvancedModeRenderingIteration => {
                matches!(next, BeingRendered | ReadyToRun | Canceled | Failed)
            }
            // An update of the spec renders again.
            ReadyToRun => matches!(next, BeingRendered | Running | Canceled | Failed),
            Running => matches!(next, BeingCanceled | Succeeded | Failed),
            BeingCanceled => matches!(next, Canceled | Failed),
            Canceled | Succeeded | Failed => false,
        }
    }

    /// Names the phase as the API carries it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "INITIAL",
            Self::BeingRendered => "BEING_RENDERED",
            Self::AdvancedModeRenderingIteration => "ADVANCED_MODE_RENDERING_ITERATION",
            Self::ReadyToRun => "READY_TO_RUN",
            Self::Running => "RUNNING",
            Self::BeingCanceled => "BEING_CANCELED",
            Self::Canceled => "CANCELED",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
        }
    }
}

/// Where a step of a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StepPhase {
    /// Its turn has not come.
    #[default]
    Pending,
    /// Its object is at work.
    Running,
    /// Something must be true before it may go on; the message says what.
    Waiting,
    /// The cluster said that it did what it was for.
    Succeeded,
    /// It did not do what it was for.
    Failed,
    /// Its condition was false, or a step before it failed.
    Skipped,
    /// The run was stopped before its end.
    Canceled,
    /// It was at work when the engine died and left nothing behind to look at.
    Interrupted,
}

impl StepPhase {
    /// Tells whether the step has ended.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Running | Self::Waiting => false,
            Self::Succeeded | Self::Failed | Self::Skipped | Self::Canceled | Self::Interrupted => true,
        }
    }

    /// Names the phase as the API carries it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Waiting => "WAITING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Skipped => "SKIPPED",
            Self::Canceled => "CANCELED",
            Self::Interrupted => "INTERRUPTED",
        }
    }
}

/// Says what the phase cannot: how much of what was asked for is really there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verdict {
    /// Everything that was asked for.
    Complete,
    /// Everything, and somebody warned on the way.
    WithWarnings,
    /// Some of what was selected is not in it.
    WithGaps,
    /// The selection matched nothing.
    Empty,
    /// A dry run: what would happen.
    Preview,
    /// Some of it failed.
    Partial,
    /// Nothing was done.
    None,
    /// What was done could not be read back, so nobody knows.
    Unknown,
}

impl Verdict {
    /// Gives the verdict on what Velero itself says is not whole.
    #[must_use]
    pub const fn at_most_partial(self) -> Self {
        match self {
            Self::Complete | Self::WithWarnings | Self::WithGaps => Self::Partial,
            Self::Empty | Self::Preview | Self::Partial | Self::None | Self::Unknown => self,
        }
    }

    /// Names the verdict as the API carries it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "COMPLETE",
            Self::WithWarnings => "WITH_WARNINGS",
            Self::WithGaps => "WITH_GAPS",
            Self::Empty => "EMPTY",
            Self::Preview => "PREVIEW",
            Self::Partial => "PARTIAL",
            Self::None => "NONE",
            Self::Unknown => "UNKNOWN",
        }
    }
}
