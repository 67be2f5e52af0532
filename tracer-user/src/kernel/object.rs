//! The kernel part as it was embedded at build time (build.rs).

use sha2::{Digest as _, Sha256};

use super::KernelError;

include!(concat!(env!("OUT_DIR"), "/kernel_object.rs"));

/// What is known of the embedded kernel part, for `--version` and doctor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectInfo {
    /// SHA-256 of the object, in hex.
    pub digest: String,
    /// Its size in bytes.
    pub size: usize,
    /// The compiler that made it.
    pub compiler: &'static str,
}

/// The object's bytes.
///
/// # Errors
/// [`KernelError::NotBuilt`] if this binary was built without it.
pub fn bytes() -> Result<&'static [u8], KernelError> {
    BYTES.ok_or(KernelError::NotBuilt)
}

/// What is known of the object; None if this binary was built without it.
pub fn info() -> Option<ObjectInfo> {
    BYTES.map(|bytes| ObjectInfo {
        digest: Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
        size: bytes.len(),
        compiler: COMPILER,
    })
}
