//! Places in the executable: how a function is named to a process that runs the same program.
//!
//! The program may be loaded at another address in each process, so a function is its distance from the start of the image. The
//! executable's identity goes along, because a position means nothing in another build. Addresses outside the main executable (a plugin,
//! a shared library) are refused: nothing says that the child will load those.

use std::sync::OnceLock;

use procession_sys::process::{BuildId, ImageRange, executable_identity, main_executable};

use crate::error::{Error, ErrorKind, Result};

/// How many bytes an [`identity`] has.
pub const IDENTITY_LENGTH: usize = BuildId::LEN;

/// The position of the code at `address` in this program's executable.
///
/// # Errors
/// The address is not in the executable's code.
pub fn position_of(address: usize) -> Result<u64> {
    let image = image();
    if !image.contains(address) {
        return Err(Error::new(
            ErrorKind::Invalid,
            "the target is not part of the main executable (a plugin or shared library?): \
             children run the executable alone"
                .to_owned(),
        ));
    }
    Ok((address - image.base) as u64)
}

/// The address of a position that another process of this program sent.
///
/// # Errors
/// The position lies outside the executable's code: the sender runs another
/// build.
pub fn address_of(position: u64) -> Result<usize> {
    let image = image();
    usize::try_from(position)
        .ok()
        .and_then(|offset| image.base.checked_add(offset))
        .filter(|address| image.contains(*address))
        .ok_or_else(|| {
            Error::new(ErrorKind::Invalid,
                "the target's position lies outside this executable: parent and child run different builds"
                    .to_owned(),
            )
        })
}

/// What tells this executable from another build of it.
///
/// # Errors
/// Neither the build id nor the file of the executable can be read.
pub fn identity() -> Result<&'static BuildId> {
    static IDENTITY: OnceLock<BuildId> = OnceLock::new();
    if let Some(identity) = IDENTITY.get() {
        return Ok(identity);
    }
    let identity = executable_identity()?;
    Ok(IDENTITY.get_or_init(|| identity))
}

fn image() -> &'static ImageRange {
    static IMAGE: OnceLock<ImageRange> = OnceLock::new();
    if let Some(image) = IMAGE.get() {
        return image;
    }
    // Found out beforehand: a child that is forked while a thread is inside `get_or_init` could never get past it.
    let image = main_executable();
    IMAGE.get_or_init(|| image)
}
