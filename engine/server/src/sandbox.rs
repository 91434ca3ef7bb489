//! `ochre sandbox`.
pub(crate) async fn run(arguments: crate::args::SandboxArguments) -> anyhow::Result<()> {
    let _ = arguments;
    anyhow::bail!("not yet")
}
