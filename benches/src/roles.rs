//! Child roles: what this program does when a contender starts it again.
//!
//! A role is called as `--child ROLE CONTROL ARGUMENT...`. CONTROL names the socket over which the parent directs
//! the child (`link::Control`). A child ends when that socket closes, and is killed when its parent dies.

use crate::link::Place;
use crate::{Result, floors, ours, peers};

/// The first argument of a child.
pub(crate) const CHILD: &str = "--child";

/// A role's function: it attaches to what its place names and serves until the parent is done.
pub(crate) type Serve = fn(&Place) -> Result<()>;

/// The role that the command line asks for, with its arguments.
pub(crate) fn requested() -> Option<Vec<String>> {
    let mut arguments = std::env::args().skip(1);
    (arguments.next()? == CHILD).then(|| arguments.collect())
}

/// Runs a role to its end.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let [role, control, rest @ ..] = arguments else {
        return Err("a child role needs a name and a control socket".into());
    };
    floors::os::die_with_parent()?;
    let serve = [floors::ROLES, peers::ROLES, ours::ROLES]
        .concat()
        .into_iter()
        .find_map(|(name, serve)| (name == role).then_some(serve))
        .ok_or_else(|| format!("no child role {role:?}"))?;
    serve(&Place::new(control, rest))
}
