//! The program `noom`: reads the configuration, then serves or does another job.

// Printing macros panic when the output is closed or full.
#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::io::Write;
use std::process::ExitCode;

use noom::server::config::{Config, Job, PurgeArguments};
use noom::server::environment::{Environment, SystemEnvironment};
use noom::server::export::command::Order;
use noom::server::{self, StartError, identity, store, telemetry};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "noom: {}", error.one_line());
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), StartError> {
    let config = Config::load()?;
    telemetry::init(config.json_logs);
    server::hide_files_from_other_users();
    match &config.job {
        None => serve(config),
        Some(Job::Backup { file }) => {
            let copied = store::backup(&config.data_dir, file)?;
            let (messages, rooms, target) = (copied.messages, copied.rooms, file.display());
            let _ = writeln!(std::io::stdout(), "copied {messages} messages in {rooms} rooms to {target}");
            if copied.files > 0 {
                let (files, folder) = (copied.files, store::files_beside(file));
                let _ = writeln!(std::io::stdout(), "copied {files} files to {}", folder.display());
            }
            Ok(())
        }
        Some(Job::Export { room, format, output, lang }) => {
            let at = SystemEnvironment.unix_time().as_millis() as u64;
            let order = Order { folder: &config.data_dir, room, format: *format, lang, at };
            match output {
                None => order.print().map(drop),
                Some(file) => {
                    let messages = order.write_to(file)?;
                    let _ = writeln!(std::io::stdout(), "exported {messages} messages to {}", file.display());
                    Ok(())
                }
            }
        }
        Some(Job::Purge { purge: PurgeArguments { room, user } }) => {
            let rooms = store::request_purge(&config.data_dir, room.as_deref(), *user)?;
            let _ = match rooms {
                0 => writeln!(std::io::stdout(), "there are no such messages"),
                1 => writeln!(std::io::stdout(), "the messages in 1 room will be removed"),
                _ => writeln!(std::io::stdout(), "the messages in {rooms} rooms will be removed"),
            };
            Ok(())
        }
        Some(Job::RotateKey { keep_days }) => {
            let keep_days = keep_days.unwrap_or(identity::COOKIE_DAYS);
            let key = identity::rotate_key(&config.data_dir, keep_days, SystemEnvironment.unix_time())?;
            let _ = writeln!(
                std::io::stdout(),
                "key {key} signs from the next start or SIGHUP on; earlier ones are valid for {keep_days} days"
            );
            Ok(())
        }
    }
}

fn serve(config: Config) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(StartError::Runtime)?;
    runtime.block_on(server::run(config))
}
