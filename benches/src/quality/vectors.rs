//! Whether the nearest vectors are found, and how fast, without an embedding and with the index that upkeep builds.
//!
//! What is searched is drawn: centres whose directions matter less and less, as those of sentence models do; half of the
//! vectors lie around one centre, more or less far, and half between two. Queries are drawn alike and are none of them. The
//! truth is an exact comparison with all vectors, as they are read back from the table; of vectors that are equally near,
//! each is right.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{
    ArrayRef, AsArray as _, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, RecordBatchIterator,
};
use arrow::datatypes::{DataType, Field, Float32Type, Schema, SchemaRef};
use futures::TryStreamExt as _;
use lance::Dataset;
use lance::dataset::WriteParams;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tracerag_index::incidents::{index_vectors, vectors};

use super::Setup;
use super::peers::{self, Export, Measured};
use super::table::{Aim, note, row};
use crate::Outcome;

/// Numbers in a vector, as the usual sentence model has them.
const DIMENSION: usize = 384;
/// A column to read beside the distance, as an answer needs one.
const POSITION: &str = "position";
/// Vectors of an answer.
const WANTED: usize = 10;
/// Vectors around a centre, on average.
const AROUND: usize = 200;
const ROWS_PER_BATCH: usize = 10_000;
const ROWS_PER_FILE: usize = 100_000;
/// Queries that are asked before it counts, and how many are asked without the index.
const WARM_UP: usize = 50;
const EXACT: usize = 20;
/// By how much distances may differ that are computed in another order.
const EQUAL: f32 = 1e-5;

pub(super) async fn measure(setup: &Setup) -> Outcome<()> {
    let temporary = tempfile::tempdir()?;
    let folder = setup.export.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(folder)?;
    let table = temporary.path().join("vectors.lance");
    let mut dataset = Box::pin(write(setup, &table)).await?;
    let begun = Instant::now();
    Box::pin(index_vectors(&mut dataset)).await?;
    let build = begun.elapsed().as_secs_f64();

    let mut generator = Generator::new(setup);
    generator.rng = SmallRng::seed_from_u64(setup.seed + 1);
    let queries: Vec<Vec<f32>> = (0..setup.queries.max(WANTED)).map(|_| generator.draw()).collect();
    let mut export = Export::create(folder, setup.size, DIMENSION)?;
    let tenth = Box::pin(exact(&dataset, &queries, &mut export)).await?;
    export.finish(&queries)?;

    for query in queries.iter().take(WARM_UP) {
        Box::pin(nearest(&dataset, query, setup.size, true)).await?;
    }
    let with_index = Box::pin(search(&dataset, &queries, &tenth, setup.size, true)).await?;
    let few = queries.len().min(EXACT);
    let without = Box::pin(search(&dataset, &queries[..few], &tenth[..few], setup.size, false)).await?;
    let size = setup.size;
    row(&format!("{size} vectors, recall@10 beside exact"), with_index.recall, Some(1.0), Aim::AtLeast(0.99));
    row(
        &format!("{size} vectors, p50 in ms beside Lance's exact scan"),
        with_index.p50,
        Some(without.p50),
        Aim::AtMost(4.0),
    );
    note(&format!("{} queries, p95 {:.2} ms, index built in {build:.1} s", queries.len(), with_index.p95));
    if size < 1_000_000 {
        note("the aims are those of 1,000,000 vectors: --size 1000000");
    }
    let rows = [("tracerag", with_index.built(build)), ("Lance, exact scan", without)];
    peers::measure(setup, folder, &rows, &tenth)
}

/// Draws vectors of length 1.
struct Generator {
    rng: SmallRng,
    centres: Vec<Vec<f32>>,
    /// How much each direction matters.
    spectrum: Vec<f32>,
}

impl Generator {
    fn new(setup: &Setup) -> Self {
        let mut rng = SmallRng::seed_from_u64(setup.seed);
        let spectrum: Vec<f32> = (0..DIMENSION).map(|direction| 1.0 / ((direction + 4) as f32).sqrt()).collect();
        let centres = (0..(setup.size / AROUND).max(2)).map(|_| unit(noise(&mut rng, &spectrum))).collect();
        Self { rng, centres, spectrum }
    }

    fn draw(&mut self) -> Vec<f32> {
        let first = self.rng.random_range(0..self.centres.len());
        let second = self.rng.random_range(0..self.centres.len());
        let is_between = self.rng.random_bool(0.5);
        let part: f32 = if is_between { self.rng.random_range(0.3..0.7) } else { 0.0 };
        let far: f32 = self.rng.random_range(0.2..0.7);
        let away = unit(noise(&mut self.rng, &self.spectrum));
        let both = self.centres[first].iter().zip(&self.centres[second]);
        unit(both.zip(away).map(|((one, other), away)| (1.0 - part) * one + part * other + far * away).collect())
    }
}

/// Normal numbers, each as large as its direction matters (Box and Muller 1958).
fn noise(rng: &mut SmallRng, spectrum: &[f32]) -> Vec<f32> {
    let mut numbers = Vec::with_capacity(spectrum.len());
    for pair in spectrum.chunks(2) {
        let (first, second): (f32, f32) = (rng.random_range(f32::EPSILON..1.0), rng.random_range(0.0..1.0));
        let (radius, angle) = ((-2.0 * first.ln()).sqrt(), std::f32::consts::TAU * second);
        let normal = [radius * angle.cos(), radius * angle.sin()];
        numbers.extend(pair.iter().zip(normal).map(|(scale, number)| scale * number));
    }
    numbers
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = dot(&vector, &vector).sqrt().max(f32::MIN_POSITIVE);
    vector.iter_mut().for_each(|number| *number /= length);
    vector
}

/// A sum of products in sixteen parts, which the compiler can do side by side.
fn dot(one: &[f32], other: &[f32]) -> f32 {
    let mut parts = [0.0_f32; 16];
    let (ones, others) = (one.chunks_exact(16), other.chunks_exact(16));
    let rest: f32 = ones.remainder().iter().zip(others.remainder()).map(|(a, b)| a * b).sum();
    for (one, other) in ones.zip(others) {
        for ((part, a), b) in parts.iter_mut().zip(one).zip(other) {
            *part += a * b;
        }
    }
    parts.iter().sum::<f32>() + rest
}

/// The type of the column in the tables of vectors.
fn item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float32, true))
}

fn schema() -> SchemaRef {
    let list = DataType::FixedSizeList(item(), DIMENSION as i32);
    let position = Field::new(POSITION, DataType::Int64, true);
    Arc::new(Schema::new(vec![position, Field::new(vectors::VECTOR, list, true)]))
}

async fn write(setup: &Setup, table: &Path) -> Outcome<Dataset> {
    let mut generator = Generator::new(setup);
    let size = setup.size;
    let batches = (0..size).step_by(ROWS_PER_BATCH).map(move |from| {
        let rows = ROWS_PER_BATCH.min(size - from);
        let numbers: Vec<f32> = (0..rows).flat_map(|_| generator.draw()).collect();
        let values: ArrayRef = Arc::new(Float32Array::from(numbers));
        let list = FixedSizeListArray::try_new(item(), DIMENSION as i32, values, None)?;
        let positions: Int64Array = (from as i64..).take(rows).map(Some).collect();
        RecordBatch::try_new(schema(), vec![Arc::new(positions), Arc::new(list)])
    });
    let params = WriteParams { max_rows_per_file: ROWS_PER_FILE, ..WriteParams::default() };
    let reader = RecordBatchIterator::new(batches, schema());
    Ok(Dataset::write(reader, table.display().to_string().as_str(), Some(params)).await?)
}

/// Reads all vectors back, exports them, and gives for each query the similarity of the tenth nearest.
async fn exact(dataset: &Dataset, queries: &[Vec<f32>], export: &mut Export<'_>) -> Outcome<Vec<f32>> {
    let mut scan = dataset.scan();
    scan.project(&[vectors::VECTOR])?;
    scan.scan_in_order(true);
    let mut batches = scan.try_into_stream().await?;
    let mut best: Vec<Vec<f32>> = vec![Vec::new(); queries.len()];
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let part = queries.len().div_ceil(threads).max(1);
    while let Some(batch) = batches.try_next().await? {
        let list = batch.column_by_name(vectors::VECTOR).and_then(|column| column.as_fixed_size_list_opt());
        let numbers = list.and_then(|list| list.values().as_primitive_opt::<Float32Type>()).ok_or("no vectors")?;
        let numbers: &[f32] = numbers.values();
        export.take(numbers)?;
        std::thread::scope(|scope| {
            for (queries, best) in queries.chunks(part).zip(best.chunks_mut(part)) {
                scope.spawn(move || {
                    for (query, best) in queries.iter().zip(best) {
                        numbers.chunks_exact(DIMENSION).for_each(|vector| keep(best, dot(query, vector)));
                    }
                });
            }
        });
    }
    best.iter()
        .map(|best| best.get(WANTED - 1).copied().ok_or_else(|| "there are less than ten vectors".into()))
        .collect()
}

/// Keeps the greatest similarities, the greatest first.
fn keep(best: &mut Vec<f32>, similarity: f32) {
    if best.len() == WANTED && best.last().is_some_and(|least| *least >= similarity) {
        return;
    }
    let place = best.partition_point(|known| *known >= similarity);
    best.insert(place, similarity);
    best.truncate(WANTED);
}

/// Cosine distances of the nearest vectors.
async fn nearest(dataset: &Dataset, query: &[f32], rows: usize, with_index: bool) -> Outcome<Vec<f32>> {
    let key = Float32Array::from(query.to_vec());
    let mut scan = dataset.scan();
    scan.project(&[POSITION, "_distance"])?;
    vectors::nearest(&mut scan, &key, WANTED, rows)?;
    scan.use_index(with_index);
    let batch = scan.try_into_batch().await?;
    let distances = batch.column_by_name("_distance").and_then(|column| column.as_primitive_opt::<Float32Type>());
    Ok(distances.ok_or("a search without distances")?.values().to_vec())
}

async fn search(
    dataset: &Dataset,
    queries: &[Vec<f32>],
    tenth: &[f32],
    rows: usize,
    with_index: bool,
) -> Outcome<Measured> {
    let (mut found, mut times) = (0, Vec::with_capacity(queries.len()));
    for (query, tenth) in queries.iter().zip(tenth) {
        let begun = Instant::now();
        let distances = nearest(dataset, query, rows, with_index).await?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        found += distances.iter().filter(|distance| 1.0 - **distance >= tenth - EQUAL).count().min(WANTED);
    }
    Ok(Measured::new(found as f64 / (WANTED * queries.len()) as f64, times))
}
