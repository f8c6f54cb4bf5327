//! From scan to scan: the state that outlives a scan, and what becomes of it at the end.

use crate::dc_only::{DcOnly, DcOnlyTables};
use crate::frame::is_frame;
use crate::header::{Header, read_restart_interval, refuse_unsupported};
use crate::huffman::{HuffmanTable, HuffmanTables};
use crate::kernels::Kernels;
use crate::lookup::{Coding, SkipTable, ValueTable};
use crate::marker::{self, Markers, Segment};
use crate::planes::Planes;
use crate::progressive::{Ac, Coefficients, DcFirst, DcRefine, Progress};
use crate::quantisation::{self, QuantisationTable, QuantisationTables};
use crate::reconstruct::{Reconstructor, dc_sample};
use crate::scan::{Layout, ScanHeader, Walk};
use crate::sequential::{BlockTables, Sequential};
use crate::{Damage, Error, Location, Options, Scale, limits};

/// Decodes what `header` was read from.
pub(crate) fn decode(header: &Header<'_>, options: &Options<'_>) -> Result<Planes, Error> {
    let frame = &header.frame;
    limits::check("max_pixels", frame.width as u64 * frame.height as u64, options.limits.max_pixels)?;
    let memory = header.memory_bytes(options.scale);
    limits::check("max_memory_bytes", memory, options.limits.max_memory_bytes)?;
    if usize::try_from(memory).is_err() {
        return Err(Error::LimitExceeded {
            what: "max_memory_bytes",
            found: memory,
            limit: usize::MAX as u64,
        });
    }
    Decoder::new(header, options)?.run()
}

struct Decoder<'d> {
    header: &'d Header<'d>,
    options: &'d Options<'d>,
    markers: Markers<'d>,
    quantisation: QuantisationTables,
    huffman: HuffmanTables,
    restart_interval: u16,
    scans: usize,
    visits: u64,
    /// For each component, the quantisation table of its first scan (B.2.4.1); `None` before that.
    latched: [Option<QuantisationTable>; 4],
    progress: Vec<Progress>,
    /// Empty but for progressive files.
    coefficients: Vec<Coefficients>,
    reconstructor: Reconstructor,
    planes: Planes,
}

impl<'d> Decoder<'d> {
    fn new(header: &'d Header<'d>, options: &'d Options<'d>) -> Result<Self, Error> {
        let components = 0..header.frame.components.len();
        let kept = header.coefficients(options.scale);
        let coefficients = components.clone().filter(|_| kept > 0);
        Ok(Self {
            header,
            options,
            markers: Markers::new(header.bytes)?,
            quantisation: [None; 4],
            huffman: HuffmanTables::default(),
            restart_interval: 0,
            scans: 0,
            visits: 0,
            latched: [None; 4],
            progress: components.map(|_| Progress::new()).collect(),
            coefficients: coefficients.map(|index| Coefficients::new(header, index, kept)).collect(),
            reconstructor: Reconstructor::new(options.scale, &Kernels::detect()),
            planes: Planes::new(header, options.scale)?,
        })
    }

    fn run(mut self) -> Result<Planes, Error> {
        loop {
            let segment = self.markers.next_segment()?;
            refuse_unsupported(&segment)?;
            match segment.marker {
                marker::DQT => quantisation::read_tables(&segment, &mut self.quantisation)?,
                marker::DHT => self.huffman.read(&segment)?,
                marker::DRI => self.restart_interval = read_restart_interval(&segment)?,
                marker::SOS => self.scan(&segment)?,
                marker::EOI => break,
                marker if is_frame(marker) && self.scans > 0 => {
                    return Err(Error::corrupt("a second frame header", segment.offset));
                }
                _ => {}
            }
        }
        let end = self.markers.position;
        if self.progress.iter().any(|progress| !progress.has_dc()) {
            return Err(Error::corrupt("a component has no scan", end));
        }
        if self.progress.iter().any(|progress| !progress.is_complete()) {
            return Err(Error::corrupt("the file ends before the last scan of a progression", end));
        }
        if self.header.frame.progressive {
            self.transform()?;
        }
        Ok(self.planes)
    }

    fn scan(&mut self, segment: &Segment<'_>) -> Result<(), Error> {
        let scan = ScanHeader::parse(segment, &self.header.frame)?;
        limits::check("max_scans", self.scans as u64 + 1, self.options.limits.max_scans as u64)?;
        let at = Location { offset: segment.offset, scan: Some(self.scans), mcu_row: None };
        let corrupt = |damage: Damage| Error::Corrupt { what: damage.0, at };
        let layout = Layout::new(&scan, &self.header.frame).map_err(corrupt)?;
        self.note(&scan).map_err(corrupt)?;
        let progressive = self.header.frame.progressive;
        if progressive && self.options.scale == Scale::Eighth && scan.band.0 > 0 {
            // A block's one sample needs no AC coefficient.
            defined(&self.huffman.ac, scan.components[0].ac_table).map_err(corrupt)?;
            self.scans += 1;
            return self.markers.skip_entropy_coded();
        }
        self.visits += layout.visits();
        limits::check("max_block_visits", self.visits, self.options.limits.max_block_visits)?;
        let walk = Walk {
            bytes: self.header.bytes,
            position: self.markers.position,
            layout: &layout,
            restart_interval: self.restart_interval.into(),
            scan: self.scans,
            interrupt: self.options.interrupt,
        };
        let end = match (progressive, self.options.scale) {
            (true, _) if scan.band.0 > 0 => self.ac_scan(&scan, &walk)?,
            (true, _) if scan.high > 0 => {
                let (blocks, coefficients) = (&layout.blocks, &mut self.coefficients);
                walk.run(&mut DcRefine { blocks, low: scan.low, coefficients })?
            }
            (true, _) => self.dc_scan(&scan, &walk)?,
            (false, Scale::Eighth) => self.dc_only_scan(&scan, &walk)?,
            (false, _) => self.sequential_scan(&scan, &walk)?,
        };
        self.markers.position = end;
        self.scans += 1;
        Ok(())
    }

    /// Notes which coefficients a scan sends, and of which table.
    fn note(&mut self, scan: &ScanHeader) -> Result<(), Damage> {
        for scanned in &scan.components {
            let progress = &mut self.progress[scanned.component];
            if self.header.frame.progressive {
                progress.note(scan)?;
            } else if progress.has_dc() {
                return Err(Damage("a component has two scans"));
            } else {
                // Sequential scans send all, whatever their headers say; encoders have got that wrong.
                progress.note(&ScanHeader { band: (0, 63), high: 0, low: 0, components: Vec::new() })?;
            }
            self.latch(scanned.component)?;
        }
        Ok(())
    }

    fn ac_scan(&mut self, scan: &ScanHeader, walk: &Walk<'_>) -> Result<usize, Error> {
        let only = scan.components[0];
        let coding = Coding::ProgressiveAc { low: scan.low };
        let table = ac_table(&self.huffman, only.ac_table, coding);
        walk.run(&mut Ac {
            table: table.map_err(|damage| walk.corrupt(damage))?,
            band: scan.band,
            low: scan.low,
            refines: scan.high > 0,
            block: walk.layout.blocks[0],
            end_of_band_run: 0,
            coefficients: &mut self.coefficients[only.component],
        })
    }

    fn dc_scan(&mut self, scan: &ScanHeader, walk: &Walk<'_>) -> Result<usize, Error> {
        let tables = scan.components.iter().map(|c| dc_table(&self.huffman, c.dc_table, scan.low));
        walk.run(&mut DcFirst {
            blocks: &walk.layout.blocks,
            tables: tables.collect::<Result<_, _>>().map_err(|damage| walk.corrupt(damage))?,
            predictions: [0; 4],
            low: scan.low,
            coefficients: &mut self.coefficients,
        })
    }

    fn dc_only_scan(&mut self, scan: &ScanHeader, walk: &Walk<'_>) -> Result<usize, Error> {
        let (pairs, uses) = scan.table_pairs();
        let tables = pairs.into_iter().map(|(dc, ac)| {
            let dc = dc_table(&self.huffman, dc, 0)?;
            Ok(DcOnlyTables { dc, ac: SkipTable::new(defined(&self.huffman.ac, ac)?) })
        });
        let mut steps = [1; 4];
        for (step, scanned) in steps.iter_mut().zip(&scan.components) {
            *step = self.latched[scanned.component].map_or(1, |table| table[0]);
        }
        walk.run(&mut DcOnly {
            blocks: &walk.layout.blocks,
            tables: tables.collect::<Result<_, _>>().map_err(|damage| walk.corrupt(damage))?,
            uses,
            steps,
            dc_limits: self.dc_limits(scan),
            predictions: [0; 4],
            planes: &mut self.planes.planes,
        })
    }

    fn sequential_scan(&mut self, scan: &ScanHeader, walk: &Walk<'_>) -> Result<usize, Error> {
        let (pairs, uses) = scan.table_pairs();
        let tables = pairs.into_iter().map(|(dc, ac)| {
            let dc = dc_table(&self.huffman, dc, 0)?;
            Ok(BlockTables { dc, ac: ac_table(&self.huffman, ac, Coding::SequentialAc)? })
        });
        let end = walk.run(&mut Sequential {
            blocks: &walk.layout.blocks,
            tables: tables.collect::<Result<_, _>>().map_err(|damage| walk.corrupt(damage))?,
            uses,
            predictions: [0; 4],
            dc_limits: self.dc_limits(scan),
            reconstructor: &mut self.reconstructor,
            planes: &mut self.planes.planes,
        })?;
        self.reconstructor.flush(&mut self.planes.planes);
        Ok(end)
    }

    /// For each component of a scan, the largest magnitude of a DC coefficient.
    fn dc_limits(&self, scan: &ScanHeader) -> [u32; 4] {
        let mut limits = [0; 4];
        for (limit, scanned) in limits.iter_mut().zip(&scan.components) {
            *limit = self.latched[scanned.component].as_ref().map_or(0, quantisation::dc_limit);
        }
        limits
    }

    /// The quantisation table that a component's first scan finds is its table to the end.
    fn latch(&mut self, component: usize) -> Result<(), Damage> {
        if self.latched[component].is_none() {
            let place = usize::from(self.header.frame.components[component].quantisation_table);
            let table = self.quantisation[place].ok_or(Damage("a quantisation table is missing"))?;
            self.latched[component] = Some(table);
            self.reconstructor.set_table(component, table);
        }
        Ok(())
    }

    /// Makes samples of the coefficients of all scans.
    fn transform(&mut self) -> Result<(), Error> {
        for (component, plane) in self.planes.planes.iter_mut().enumerate() {
            let coefficients = &self.coefficients[component];
            let dc_limit = self.latched[component].as_ref().map_or(0, quantisation::dc_limit);
            for y in 0..self.header.frame.blocks(component).1 {
                if self.options.interrupt.is_some_and(|interrupt| interrupt()) {
                    return Err(Error::Interrupted(Location::at(self.markers.position)));
                }
                let row = coefficients.row(y);
                let mut dc_max = 0;
                if self.options.scale == Scale::Eighth {
                    let step = self.latched[component].map_or(1, |table| table[0]);
                    for (x, &coefficient) in row.iter().enumerate() {
                        plane.set(x, y, dc_sample(coefficient, step));
                        dc_max = coefficient.unsigned_abs().max(dc_max);
                    }
                } else {
                    let blocks = row.as_chunks::<64>().0;
                    dc_max = self.reconstructor.transform_row(blocks, component, y, plane);
                }
                if u32::from(dc_max) > dc_limit {
                    return Err(Error::corrupt(Damage::DC_TOO_LARGE.0, self.markers.position));
                }
            }
        }
        Ok(())
    }
}

fn defined(tables: &[Option<HuffmanTable>; 4], place: usize) -> Result<&HuffmanTable, Damage> {
    tables[place].as_ref().ok_or(Damage("a Huffman table is missing"))
}

fn dc_table(tables: &HuffmanTables, place: usize, low: u8) -> Result<ValueTable, Damage> {
    Ok(ValueTable::new(defined(&tables.dc, place)?, Coding::Dc { low }))
}

fn ac_table(tables: &HuffmanTables, place: usize, coding: Coding) -> Result<ValueTable, Damage> {
    Ok(ValueTable::new(defined(&tables.ac, place)?, coding))
}
