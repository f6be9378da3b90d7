//! Window functions that look so far that their rows are held, though DataFusion computes them as the rows come.

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{WindowFrame, WindowFrameBound, WindowFrameUnits};
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_plan::WindowExpr;
use datafusion::physical_plan::windows::{StandardWindowExpr, WindowUDFExpr};

/// Rows that are near: no more than a batch or two.
const NEAR: u64 = 10_000;
/// Functions that look as many rows ahead or back as their second argument says, whatever the frame is.
const SHIFTING: [&str; 2] = ["lead", "lag"];

/// Whether a window function holds more rows than a batch or two.
pub(super) fn looks_far(window: &dyn WindowExpr) -> bool {
    let shifting = window.as_any().downcast_ref::<StandardWindowExpr>().and_then(|window| {
        let function = window.get_standard_func_expr().as_any().downcast_ref::<WindowUDFExpr>()?;
        SHIFTING.contains(&function.fun().name()).then_some(function)
    });
    match shifting {
        Some(function) => match function.args().get(1) {
            Some(offset) => offset.downcast_ref::<Literal>().is_none_or(|offset| is_far(offset.value())),
            None => false,
        },
        None => reaches_far(window.get_window_frame()),
    }
}

/// Whether a frame spans many rows beside those from its beginning on, which are not looked at again. By how many rows
/// values or groups follow is not known. Those that precede are asked for by time, as a rule, and are few.
fn reaches_far(frame: &WindowFrame) -> bool {
    match (&frame.start_bound, &frame.end_bound, frame.units) {
        (_, WindowFrameBound::Following(rows), WindowFrameUnits::Rows) if is_far(rows) => true,
        (_, WindowFrameBound::Following(span), WindowFrameUnits::Range | WindowFrameUnits::Groups) => !span.is_null(),
        (WindowFrameBound::Preceding(rows), _, WindowFrameUnits::Rows) => !rows.is_null() && is_far(rows),
        _ => false,
    }
}

fn is_far(rows: &ScalarValue) -> bool {
    match rows.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(Some(rows))) => rows.unsigned_abs() > NEAR,
        Ok(ScalarValue::Int64(None)) => false,
        _ => true,
    }
}
