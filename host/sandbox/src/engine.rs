//! The settings under which guests run. They are part of the defence: change one only with its reason.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tidegate_model::{Code, Fault, Limits, Result};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// How often a running guest gives way.
const TICK: Duration = Duration::from_millis(10);

/// An engine that runs up to `instances` at once. Their guests give way while its [`Ticker`] runs.
pub(crate) fn running(instances: u32) -> Result<Engine> {
    let mut config = settings();
    config.allocation_strategy(pool(instances));
    Engine::new(&config).map_err(|error| broken(&error))
}

/// Makes the guests of an engine give way, from the first one on: a process that only loads a component has no thread
/// of it, and can still be confined.
#[derive(Debug, Default)]
pub(crate) struct Ticker(Mutex<bool>);

impl Ticker {
    /// The thread ends with the engine.
    pub(crate) fn start(&self, engine: &Engine) -> Result<()> {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *runs {
            return Ok(());
        }
        let weak = engine.weak();
        std::thread::Builder::new()
            .name("epochs".to_owned())
            .spawn(move || {
                while let Some(engine) = weak.upgrade() {
                    engine.increment_epoch();
                    drop(engine);
                    std::thread::sleep(TICK);
                }
            })
            .map_err(|error| Fault::external(Code::Storage, format!("cannot start a thread: {error}")))?;
        *runs = true;
        Ok(())
    }
}

/// An engine that only compiles. What it makes runs on a [`running`] one.
pub(crate) fn compiling() -> Result<Engine> {
    Engine::new(&settings()).map_err(|error| broken(&error))
}

/// Changes whenever what was compiled before cannot be run any more.
pub(crate) fn compatibility(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn broken(error: &wasmtime::Error) -> Fault {
    Fault::internal(Code::Bug, format!("the engine refuses its settings: {error:#}"))
}

fn settings() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // WASI 0.3 is marked unstable upstream, and most advisories on components were in it. Async host
        // functions work without.
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(512 << 10)
        .async_stack_size(2 << 20)
        .async_stack_zeroing(true)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(20))
        .wasm_backtrace_details(wasmtime::WasmBacktraceDetails::Disable)
        // Both are for debuggers, and a sixth of what is read and hashed at every start.
        .generate_address_map(false)
        .native_unwind_info(false)
        // What no component needs is not there to be attacked. Threads, garbage collection, exceptions and
        // 64-bit memories are larger attack surfaces; relaxed SIMD is not deterministic. Several memories
        // stay: adapters use them.
        .wasm_threads(false)
        .shared_memory(false)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_tail_call(false)
        .wasm_wide_arithmetic(false)
        .wasm_simd(true)
        .wasm_multi_memory(true);
    config
}

/// Slots sized for connectors: one memory each, a few core instances that the linker's glue makes.
fn pool(instances: u32) -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(8))
        .total_memories(instances)
        .total_tables(instances.saturating_mul(8))
        .total_stacks(instances)
        .max_core_instances_per_component(8)
        .max_memories_per_component(1)
        .max_tables_per_component(8)
        .max_memory_size(usize::try_from(Limits::MAX_MEMORY).unwrap_or(usize::MAX))
        .table_elements(100_000)
        .max_unused_warm_slots(4);
    InstanceAllocationStrategy::Pooling(pool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_accepts_its_settings() {
        let engine = running(64).unwrap();
        assert_eq!(compatibility(&engine), compatibility(&compiling().unwrap()));
    }
}
