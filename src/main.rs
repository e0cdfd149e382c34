//! The program: configuration, then the server, or a copy of what it keeps.

use std::error::Error;
use std::process::ExitCode;

use noom::server::{self, config::Config, store, telemetry};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("noom: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let config = Config::load()?;
    telemetry::start(config.json_logs);
    if let Some(file) = &config.backup_to {
        let copied = store::backup(&config.data_dir, file)?;
        println!("{} messages in {} rooms are copied to {}", copied.messages, copied.rooms, file.display());
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(server::run(config))?)
}
