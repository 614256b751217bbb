//! The smallest kernel that boots: it writes a text to the serial port and does one thing. Machines of it are there at
//! once and need no package, and what a provider promises depends on nothing that runs in its machines.

/// Where it is loaded.
const BASE: u32 = 0x0010_0000;
/// The length of its header, in bytes.
const HEADER: u32 = 32;
/// What loaders of its kind look for.
const MAGIC: u32 = 0x1bad_b002;
/// Its header says where everything is to be loaded.
const FLAGS: u32 = 0x0001_0000;

/// What it does after its text.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    /// Nothing, and costs nothing.
    Wait,
    /// The same again, for ever.
    Repeat,
    /// Asks for a reset.
    End,
}

/// The kernel's bytes.
pub(crate) fn kernel(text: &str, then: Then) -> Vec<u8> {
    let rest = match then {
        // cli; hlt; jmp to hlt
        Then::Wait => vec![0xfa, 0xf4, 0xeb, 0xfd],
        // jmp to the first instruction
        Then::Repeat => vec![0xeb, 0xed],
        // lidt with no table, whose address is filled in below; int3
        Then::End => vec![0x0f, 0x01, 0x1d, 0, 0, 0, 0, 0xcc],
    };
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("small");
    let start = BASE + HEADER + 17 + length(&rest);
    let table = start + length(text.as_bytes()) + 1;
    // mov esi, text; mov dx, the port
    let mut code = vec![0xbe];
    code.extend(start.to_le_bytes());
    code.extend([0x66, 0xba, 0xf8, 0x03]);
    // lodsb; test al, al; jz behind; out dx, al; jmp to lodsb
    code.extend([0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8]);
    code.extend(rest);
    if let Then::End = then {
        let at = code.len() - 5;
        code[at..at + 4].copy_from_slice(&table.to_le_bytes());
    }
    code.extend(text.as_bytes());
    code.extend([0; 9]);
    let end = BASE + HEADER + length(&code);
    let checksum = 0_u32.wrapping_sub(MAGIC + FLAGS);
    let header = [MAGIC, FLAGS, checksum, BASE, BASE, end, end, BASE + HEADER];
    header
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .chain(code)
        .collect()
}
