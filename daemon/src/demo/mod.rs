//! `causeway demo`: the whole gateway at work between network namespaces of this machine.

pub(crate) fn demo(_keep: bool) -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
