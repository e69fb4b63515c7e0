//! What the figures should be.

/// The median of a row must be as good as `must`, and would be better as good as `aim`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Goal {
    pub(super) row: &'static str,
    pub(super) must: f64,
    pub(super) aim: f64,
}

/// How a figure stands to its goal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Met {
    /// Not even what must be.
    Missed,
    /// What must be.
    Must,
    /// What is aimed for.
    Aim,
}

impl Goal {
    /// All of them. Ratios to Docker are taken on the same underlay.
    pub(super) const ALL: &[Self] = &[
        Self::new("kernel_plane/tcp_bulk/vs_docker", 1.0, 1.15),
        Self::new("kernel_plane/pps64/vs_docker", 1.3, 1.6),
        Self::new("kernel_plane/tcp_rr_p50/vs_docker", 0.85, 0.7),
        Self::new("user_plane/tcp_bulk/vs_docker", 0.35, 0.60),
        Self::new("user_plane_no_tnl/tcp_bulk/vs_docker", 1.3, 2.0),
        Self::new("user_plane/pps64/vs_docker", 2.0, 4.0),
        Self::new("user_plane/tcp_rr_p50/vs_docker", 2.3, 1.5),
        Self::new("user_plane_sealed/tcp_bulk/vs_user_plane", 0.4, 0.7),
        Self::new("user_plane/tcp_bulk/vs_nebula", 8.0, 12.0),
        Self::new("user_plane/tcp_bulk/vs_fastd", 6.0, 10.0),
        Self::new("codec/parse", 15.0, 9.0),
    ];

    const fn new(row: &'static str, must: f64, aim: f64) -> Self {
        Self { row, must, aim }
    }

    /// The goal of a row, if it has one.
    pub(super) fn of(row: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|goal| goal.row == row)
    }

    /// Whether more is better.
    pub(super) fn is_floor(&self) -> bool {
        self.aim > self.must
    }

    /// How a median stands to it.
    pub(super) fn judge(&self, median: f64) -> Met {
        let reaches = |limit: f64| if self.is_floor() { median >= limit } else { median <= limit };
        if reaches(self.aim) {
            Met::Aim
        } else if reaches(self.must) {
            Met::Must
        } else {
            Met::Missed
        }
    }
}

impl Met {
    /// As in the table.
    pub(super) const fn mark(self) -> &'static str {
        match self {
            Self::Missed => "✗",
            Self::Must => "✓",
            Self::Aim => "✓ aim",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_or_less_is_better_as_the_goal_says() {
        let bulk = Goal::of("user_plane/tcp_bulk/vs_docker").unwrap();
        assert_eq!([0.34, 0.35, 0.6].map(|ratio| bulk.judge(ratio)), [Met::Missed, Met::Must, Met::Aim]);
        let turns = Goal::of("user_plane/tcp_rr_p50/vs_docker").unwrap();
        assert_eq!([2.4, 2.3, 1.5].map(|ratio| turns.judge(ratio)), [Met::Missed, Met::Must, Met::Aim]);
        assert_eq!(Goal::of("tinc/tcp_bulk"), None);
    }
}
