//! What a Go binary says of its build, in the words of the stream.

use crate::object::buildinfo::GoBuild;
use crate::object::elf::BuildIds;
use crate::stream::BuildInfo;

/// Puts together what the build information and the notes say. The GNU build id, which symbol
/// servers know, goes before Go's own.
pub fn build_info(build: &GoBuild, ids: &BuildIds) -> BuildInfo {
    BuildInfo {
        path: build.path.clone(),
        module: build.module.clone(),
        version: build.module_version.clone(),
        build_id: ids.gnu.clone().or_else(|| ids.go.clone()),
        settings: build.settings.clone(),
    }
}
