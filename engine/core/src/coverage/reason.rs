//! Why data is not in a Backup.

/// Why the data of a volume is not in a Backup, in one word for machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// What would run the pod is scaled to fewer.
    ScaledDown,
    /// No pod mounts the claim.
    NotMounted,
    /// The Backup's selection leaves the claim out.
    NotSelected,
    /// The Backup's selection leaves the pod out.
    PodNotSelected,
    /// An error, such as a failed hook, kept the pod out.
    PodDropped,
    /// The pod did not run.
    PodNotRunning,
    /// The data lives in a folder of the node.
    HostPath,
    /// The pod asks not to have it copied.
    OptedOut,
    /// Only what pods ask for is copied, and this one does not.
    NotOptedIn,
    /// Snapshots were asked for, and nothing took one.
    NoSnapshot,
    /// Velero tried and failed.
    SaveFailed,
    /// Velero skipped it for a reason of its own.
    Skipped,
    /// None of Velero's files mentions it.
    NotMentioned,
}

impl Reason {
    /// Names the reason in CamelCase.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ScaledDown => "ScaledDown",
            Self::NotMounted => "NotMounted",
            Self::NotSelected => "NotSelected",
            Self::PodNotSelected => "PodNotSelected",
            Self::PodDropped => "PodDropped",
            Self::PodNotRunning => "PodNotRunning",
            Self::HostPath => "HostPath",
            Self::OptedOut => "OptedOut",
            Self::NotOptedIn => "NotOptedIn",
            Self::NoSnapshot => "NoSnapshot",
            Self::SaveFailed => "SaveFailed",
            Self::Skipped => "Skipped",
            Self::NotMentioned => "NotMentioned",
        }
    }

    /// Says what to do about it, beside accepting it by the annotation on the claim or pod.
    pub const fn cure(self) -> &'static str {
        match self {
            Self::ScaledDown => {
                "scale it up for the backup, or save by snapshots, which need no pod (volumes: snapshot)"
            }
            Self::NotMounted => {
                "mount it in a running pod for the backup, save by snapshots (volumes: snapshot), or delete the claim if nobody needs it"
            }
            Self::NotSelected => "give it the labels that the backup selects by, or select its namespace",
            Self::PodNotSelected => {
                "give the pod the labels that the backup selects by, or select its namespace"
            }
            Self::PodDropped => "mend what failed (the backup's errors name it) and back up again",
            Self::PodNotRunning => "get the pod to run and back up again",
            Self::HostPath => {
                "move the data to a `local` or provisioned PersistentVolume: Velero copies no hostPath"
            }
            Self::OptedOut => {
                "take the volume out of the annotation backup.velero.io/backup-volumes-excludes"
            }
            Self::NotOptedIn => {
                "name the volume in the pod's annotation backup.velero.io/backup-volumes, or ask for volumes: fs"
            }
            Self::NoSnapshot => {
                "set up snapshots for its storage (a CSI driver with a VolumeSnapshotClass), or ask for volumes: fs"
            }
            Self::SaveFailed => "see the backup's errors and the node agent's log, and back up again",
            Self::Skipped => "change what Velero names, such as a volume policy",
            Self::NotMentioned => "see whether Velero's node agent runs on the pod's node, and back up again",
        }
    }
}
