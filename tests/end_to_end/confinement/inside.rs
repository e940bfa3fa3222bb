//! Makes another process do system calls, as somebody who runs their own code in it would. What the kernel answers is
//! what it answers to that process.
#![allow(unsafe_code, reason = "that is what ptrace(2) takes")]

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::process::Pid;

/// A process that is stopped, and goes on where it was when this is dropped.
pub struct Inside {
    process: libc::pid_t,
    memory: File,
    before: libc::user_regs_struct,
    /// The address of a `syscall` instruction.
    gate: u64,
    /// The address of memory that nobody misses.
    room: u64,
}

/// Of a call.
pub enum Argument<'a> {
    Number(i64),
    Text(&'a str),
    Bytes(Vec<u8>),
}

/// Where texts are put, each with as much room.
const EACH: u64 = 1024;

impl Inside {
    /// Stops it in its main thread, which waits for others and holds nothing.
    pub fn of(process: Pid) -> Self {
        let process = process.as_raw_nonzero().get();
        let memory = File::options().read(true).write(true).open(format!("/proc/{process}/mem")).unwrap();
        trace(libc::PTRACE_ATTACH, process, 0);
        wait(process);
        let before = registers(process);
        let gate = gate(process, &memory);
        // Below what the thread may still use of its stack.
        let room = (before.rsp - (64 << 10)) & !0xfff;
        Self { process, memory, before, gate, room }
    }

    /// What the kernel answers: a number, or an error.
    pub fn call(&self, number: libc::c_long, arguments: &[Argument<'_>]) -> Result<i64, i32> {
        let mut values = [0_u64; 6];
        for (index, argument) in arguments.iter().enumerate() {
            let place = self.room + EACH * index as u64;
            values[index] = match argument {
                Argument::Number(number) => number.cast_unsigned(),
                Argument::Text(text) => {
                    self.memory.write_all_at(&[text.as_bytes(), b"\0"].concat(), place).unwrap();
                    place
                }
                Argument::Bytes(bytes) => {
                    self.memory.write_all_at(bytes, place).unwrap();
                    place
                }
            };
        }
        let [rdi, rsi, rdx, r10, r8, r9] = values;
        let rax = number.cast_unsigned();
        // No call is being made, so none is begun again.
        let orig_rax = u64::MAX;
        let registers_then = libc::user_regs_struct {
            rip: self.gate,
            rax,
            orig_rax,
            rdi,
            rsi,
            rdx,
            r10,
            r8,
            r9,
            ..self.before
        };
        set_registers(self.process, &registers_then);
        trace(libc::PTRACE_SINGLESTEP, self.process, 0);
        wait(self.process);
        let answer = registers(self.process).rax.cast_signed();
        if answer < 0 { Err(i32::try_from(-answer).unwrap()) } else { Ok(answer) }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        set_registers(self.process, &self.before);
        trace(libc::PTRACE_DETACH, self.process, 0);
    }
}

/// In the C library.
fn gate(process: libc::pid_t, memory: &File) -> u64 {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let code = maps.lines().find(|line| line.contains(" r-xp ") && line.contains("libc.so")).unwrap();
    let (range, _) = code.split_once(' ').unwrap();
    let (start, end) = range.split_once('-').unwrap();
    let [start, end] = [start, end].map(|text| u64::from_str_radix(text, 16).unwrap());
    let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
    memory.read_exact_at(&mut bytes, start).unwrap();
    start + bytes.windows(2).position(|pair| pair == [0x0f, 0x05]).unwrap() as u64
}

fn registers(process: libc::pid_t) -> libc::user_regs_struct {
    // SAFETY: plain numbers, which the kernel fills.
    unsafe {
        let mut registers: libc::user_regs_struct = std::mem::zeroed();
        check(libc::ptrace(libc::PTRACE_GETREGS, process, 0, &raw mut registers));
        registers
    }
}

fn set_registers(process: libc::pid_t, registers: &libc::user_regs_struct) {
    // SAFETY: they are read, of a process that is stopped.
    unsafe { check(libc::ptrace(libc::PTRACE_SETREGS, process, 0, &raw const *registers)) }
}

fn trace(request: libc::c_uint, process: libc::pid_t, data: usize) {
    // SAFETY: requests that take no memory of ours.
    unsafe { check(libc::ptrace(request, process, 0, data as *mut c_void)) }
}

fn wait(process: libc::pid_t) {
    let mut status = 0;
    // SAFETY: a number is written.
    let waited = unsafe { libc::waitpid(process, &raw mut status, libc::__WALL) };
    assert!(
        waited == process && libc::WIFSTOPPED(status),
        "{waited} {status:x}: {}",
        io::Error::last_os_error()
    );
}

#[track_caller]
fn check(answer: libc::c_long) {
    assert!(answer >= 0, "{}", io::Error::last_os_error());
}
