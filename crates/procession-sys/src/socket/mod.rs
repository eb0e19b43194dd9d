//! Sockets: connected pairs, names without files, descriptors sent along with bytes.
//!
//! Nothing here raises SIGPIPE. Interrupted calls are reported.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::{
    Backlog, BufferSize, Half, MOST_DESCRIPTORS, PeerCredentials, accept, connect_abstract,
    is_own_user, listen_abstract, pair, peer_credentials, receive, receive_with_descriptors, send,
    send_vectored, send_with_descriptors, set_buffer_size, shutdown,
};
