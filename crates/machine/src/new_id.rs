//! Ids that are made here.

use std::time::{SystemTime, UNIX_EPOCH};

use uuid::{NoContext, Timestamp, Uuid};

/// A new id; of two, the later one sorts behind, but for what the wall clock does.
pub fn new_id() -> Uuid {
    at(SystemTime::now())
}

/// `Uuid::now_v7` panics where the clock is before 1970: a machine without a battery may start there.
fn at(now: SystemTime) -> Uuid {
    match now.duration_since(UNIX_EPOCH) {
        Ok(_) => Uuid::now_v7(),
        Err(_) => Uuid::new_v7(Timestamp::from_unix(NoContext, 0, 0)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ids_are_made_whatever_the_wall_clock_says() {
        let before = UNIX_EPOCH - Duration::from_secs(1);
        let (one, two) = (at(before), at(before));
        assert_ne!(one, two);
        assert_eq!((one.get_version_num(), new_id().get_version_num()), (7, 7));
        assert!(one < new_id());
    }
}
