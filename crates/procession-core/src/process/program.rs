//! The command line of a child that runs this program again.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;

use super::marker::Marker;

/// The path of a test, as the harness of this test program calls it; set once
/// by the first test that may start processes.
static TEST: OnceLock<String> = OnceLock::new();

/// Makes children of this program enter through the test `path`.
///
/// The children of a test program are the same program, so its harness must
/// be told to run one test and nothing else; any test that enters the child
/// first will do.
pub fn enter_through_test(path: &str) {
    TEST.get_or_init(|| path.to_owned());
}

/// Whether children enter through a test.
pub(super) fn enters_through_test() -> bool {
    TEST.get().is_some()
}

/// The arguments of a child: those of this process, then the marker.
pub(super) fn arguments(marker: &Marker) -> Vec<CString> {
    let mut arguments: Vec<OsString> = match TEST.get() {
        Some(test) => std::env::args_os()
            .take(1)
            .chain(
                [test.as_str(), "--exact", "--nocapture", "--include-ignored"].map(OsString::from),
            )
            .collect(),
        None => {
            let mut own: Vec<OsString> = std::env::args_os().collect();
            if Marker::of_this_process().is_some() {
                own.pop();
            }
            own
        }
    };
    arguments.push(marker.to_string().into());
    arguments
        .into_iter()
        .map(|argument| {
            // An argument came from a C string, so it has no NUL; the marker has none either.
            CString::new(argument.into_vec()).unwrap_or_default()
        })
        .collect()
}
