//! The last word of a child's command line, which makes it a member of the family.
//!
//! Membership travels there and in inherited descriptors, never in the environment, which the user's own subprocesses would inherit.
//! The program's own arguments stand before it, so a child sees the command line of its parent.

use std::fmt;

use procession_sync::OwnerId;

use crate::shm::BlockId;

const PREFIX: &str = "procession-child:1:";

/// What a child must know before it can read anything from the Heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    /// The descriptor of the family's memory object.
    pub(crate) family: i32,
    /// The slot that was reserved for the child.
    pub(crate) owner: OwnerId,
    /// The launch message, which is private to that slot.
    pub(crate) message: BlockId,
    /// The read end of the parent's life pipe.
    pub(crate) life: i32,
    /// Where a forkserver takes its orders; other children have none.
    pub(crate) orders: Option<i32>,
    /// The standard output of a child whose descriptor 1 belongs to a test
    /// harness.
    pub(crate) output: Option<i32>,
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{PREFIX}{}:{:x}:{:x}:{}:{}:{}",
            self.family,
            self.owner.to_bits(),
            self.message.to_bits(),
            self.life,
            self.orders.unwrap_or(-1),
            self.output.unwrap_or(-1),
        )
    }
}

impl Marker {
    /// Recognises the marker; anything else is somebody else's argument.
    pub(crate) fn parse(argument: &str) -> Option<Self> {
        let mut fields = argument.strip_prefix(PREFIX)?.split(':');
        let marker = Self {
            family: fields.next()?.parse().ok()?,
            owner: OwnerId::from_bits(u32::from_str_radix(fields.next()?, 16).ok()?)?,
            message: BlockId::from_bits(u64::from_str_radix(fields.next()?, 16).ok()?)?,
            life: fields.next()?.parse().ok()?,
            orders: optional(fields.next()?)?,
            output: optional(fields.next()?)?,
        };
        fields.next().is_none().then_some(marker)
    }

    /// The marker of this process, if it was started by procession.
    pub(crate) fn of_this_process() -> Option<Self> {
        let last = std::env::args_os().next_back()?;
        Self::parse(last.to_str()?)
    }
}

fn optional(field: &str) -> Option<Option<i32>> {
    let number: i32 = field.parse().ok()?;
    Some((number >= 0).then_some(number))
}

#[cfg(test)]
mod tests {
    use procession_sync::OwnerId;

    use super::Marker;
    use crate::shm::BlockId;

    #[test]
    fn the_marker_survives_the_command_line() {
        for (orders, output) in [(None, None), (Some(9), None), (None, Some(4))] {
            let marker = Marker {
                family: 5,
                owner: OwnerId::new(17, 3).unwrap(),
                message: BlockId::from_bits(u64::MAX - 9).unwrap(),
                life: 6,
                orders,
                output,
            };
            assert_eq!(Marker::parse(&marker.to_string()), Some(marker));
        }
    }

    #[test]
    fn other_arguments_are_left_alone() {
        for argument in [
            "",
            "procession-child:",
            "procession-child:1:5:0:1:6:-1:-1",
            "x",
        ] {
            assert_eq!(Marker::parse(argument), None);
        }
    }
}
