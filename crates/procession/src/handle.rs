//! How the handles of this crate travel: as the indices under which the engine keeps them beside the message.
//!
//! Used by every type that is a handle to something shared.

use procession_core as engine;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::codec::keep_handle_error;

/// Writes the indices under which a handle was noted.
pub(crate) fn serialize<N: Serialize, S: Serializer>(
    noted: engine::Result<N>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let indices = noted.map_err(|error| {
        keep_handle_error(&error);
        ser::Error::custom(error)
    })?;
    indices.serialize(serializer)
}

/// Reads the indices of a handle and makes it of them.
pub(crate) fn deserialize<'de, N: Deserialize<'de>, T, D: Deserializer<'de>>(
    deserializer: D,
    open: impl FnOnce(N) -> engine::Result<T>,
) -> Result<T, D::Error> {
    let indices = N::deserialize(deserializer)?;
    open(indices).map_err(|error| {
        keep_handle_error(&error);
        de::Error::custom(error)
    })
}

/// Lets a struct travel whose one field is the engine's handle.
macro_rules! travels {
    ($face:ident { $field:ident: $engine:ty }) => {
        /// Only inside an argument, a result or a message of the same family.
        impl serde::Serialize for $face {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::handle::serialize(self.$field.note(), serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $face {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let $field = $crate::handle::deserialize(deserializer, <$engine>::from_handle)?;
                Ok(Self { $field })
            }
        }
    };
}

pub(crate) use travels;
