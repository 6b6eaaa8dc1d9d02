use super::{Order, shape::Model};
pub(super) fn write(_: &Model, _: &Order<'_>) -> String {
    String::new()
}
