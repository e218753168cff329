use super::*;

#[test]
fn a_place_is_found_from_any_guess() {
    let values: Vec<f64> = (0..40).map(|i| f64::from(i * i)).collect();
    for x in [0.0, 0.5, 1.0, 48.0, 49.0, 50.0, 1520.5, 1521.0, f64::INFINITY] {
        let expected = values.partition_point(|v| *v <= x) - 1;
        assert!((0..values.len()).all(|guess| last_up_to(&values, x, guess) == expected), "{x}");
    }
}

#[test]
fn a_float_threshold_splits_numbers_as_their_codes() {
    let mut numbers = vec![0.0, -0.0, 1e-320, -1e-320, 1e-46, -1e-46, 16_777_217.0, 0.1, f64::from(0.1f32), 3e38];
    numbers.extend((0..400u64).map(|i| (corten_core::random::bits(1, 2, i) >> 11) as f64 / 4e15 - 1.0));
    let column = Column::f64("x", numbers.clone());
    let column = &float_columns(&[column], numbers.len()).unwrap().unwrap()[0];
    let all = (*column.codes.iter().min().unwrap(), *column.codes.iter().max().unwrap());
    let tiny = [(-2e-45, 1e-45), (-1e-45, 0.0), (0.0, 1e-45)].map(|(low, high)| (in_order(low), in_order(high)));
    for (low, high) in [all, (in_order(-1.0), in_order(1.0))].into_iter().chain(tiny) {
        for step in 0..100 {
            let (threshold, last) = column.cut_at(&Span { low, high, missing: 0 }, f64::from(step) / 1e2);
            assert!((low..high).contains(&last));
            assert_eq!(last_floats(&[low], &[high], &[f64::from(step) / 1e2]), [last]);
            assert_eq!(threshold, f64::from(float(last)));
            for (x, code) in numbers.iter().zip(&column.codes) {
                assert_eq!(*x <= threshold, *code <= last, "{x} by {threshold}");
            }
        }
    }
    let large = Column::f64("x", vec![1e39]);
    assert!(float_columns(&[large], 1).unwrap().is_none());
}

#[test]
fn bytes_are_whole_numbers_below_256() {
    let numbers = [0.0, -0.0, 7.0, 255.0, 7.0];
    let mut out = [0; 5];
    assert!(bytes(&numbers, &mut out));
    assert_eq!(out, [0, 0, 7, 255, 7]);
    for x in [0.5, -1.0, 256.0, 1e300, f64::NAN, f64::INFINITY, 4_503_599_627_370_496.0] {
        assert!(!bytes(&[1.0, x], &mut out[..2]), "{x}");
    }
    let Wide { codes: Codes::Bytes(codes, ranks), scale: Scale::Values(distinct), missing } = by_byte(out.to_vec())
    else {
        panic!("ranks")
    };
    assert_eq!((&codes[..], missing), (&out[..], NO_MISSING));
    assert!(out.iter().all(|&x| distinct[ranks[usize::from(x)] as usize] == f64::from(x)));
    let sparse = Data::Table(corten_core::Table::named(vec![Column::f64("x", vec![1.0, 2.5])]).unwrap());
    assert!(whole(&sparse, 1).unwrap().is_none());
}

#[test]
fn a_column_is_ranked_alike_whatever_it_begins_with() {
    // Bytes for as long as a block and longer, then what is none.
    for (rows, other) in [(1, 0.5), (64, 300.0), (65, -2.0), (200, f64::NAN), (1000, 0.25)] {
        let mut values: Vec<f64> = (0..rows).map(|row| f64::from(row % 7)).collect();
        values.push(other);
        values.extend((0..rows).map(|row| f64::from(row % 5)));
        let column = Column::f64("x", values.clone());
        let data = Data::Table(corten_core::Table::named(vec![column]).unwrap());
        let Ranks::Byte(table) = rank(&data, 1).unwrap() else { panic!("many values") };
        let (codes, distinct) = by_sort(&values);
        let Ranked { codes: got, scale: Scale::Values(found), .. } = &table.columns[0] else { panic!("ranks") };
        assert!(got.iter().map(|&code| u32::from(code)).eq(codes) && *found == distinct, "{rows} rows, {other}");
    }
}

#[test]
fn columns_are_ranked_alike_however_many_are_read_together() {
    // Longer than a block of rows: bytes in some blocks, and other numbers in the first, the last, or none.
    let value = |row: usize, at: usize| match at % 4 {
        0 => (row * 7 % 11) as f64,
        1 if row < 9 => 0.25,
        2 if row > 4_990 => f64::NAN,
        3 => (row * 13 % 977) as f64 / 8.0,
        _ => (row * (at + 3) % 250) as f64,
    };
    let numbers: Vec<Vec<f64>> = (0..20).map(|at| (0..5_000).map(|row| value(row, at)).collect()).collect();
    let columns: Vec<_> = numbers.iter().enumerate().map(|(at, own)| Column::f64(at, own.clone())).collect();
    for (count, threads) in [(1, 1), (4, 3), (20, 1), (20, 2)] {
        let ranked = ranked(&columns[..count], 5_000, threads).unwrap();
        for (wide, own) in ranked.into_iter().zip(&numbers) {
            let (codes, distinct) = by_sort(own);
            let got: Vec<u32> = match wide.codes {
                Codes::Bytes(bytes, ranks) => bytes.iter().map(|&x| ranks[usize::from(x)]).collect(),
                Codes::Words(codes) => codes,
            };
            let Scale::Values(found) = wide.scale else { panic!("ranks") };
            assert!(got == codes && found == distinct, "{count} columns");
        }
    }
}

#[test]
fn tables_and_sorts_rank_alike() {
    let values = [3.0, 0.0, f64::NAN, 7.0, 3.0, 65_000.0];
    assert_eq!(by_table(&values), by_sort(&values));
    assert_eq!(by_table(&values), (vec![1, 0, 4, 2, 1, 3], vec![0.0, 3.0, 7.0, 65_000.0]));
    let negative = [-1.5, f64::NAN, 2.0, -3.0];
    assert_eq!(by_sort(&negative), (vec![1, 3, 2, 0], vec![-3.0, -1.5, 2.0]));
}

#[test]
fn hashes_and_sorts_rank_alike() {
    for (count, has_ranks) in [(1, true), (300, true), (4096, true), (4097, false)] {
        let values: Vec<f64> = (0..40_000u64)
            .map(|i| ((i.wrapping_mul(7919) % count) as f64 - 100.0) / 8.0)
            .chain([f64::NAN, 0.0, f64::MIN_POSITIVE])
            .collect();
        // Two more than counted are there: 0 may be one of the others.
        let ranked = by_hash(&values);
        assert!(ranked.is_none() || ranked == Some(by_sort(&values)), "{count} values");
        assert_eq!(by_hash(&values[..40_001]).is_some(), has_ranks, "{count} values");
    }
    assert!(by_hash(&[0.5; 7]).is_none() && by_hash(&[0.5; 8]).is_some());
    assert_eq!(by_hash(&[f64::NAN]), Some((vec![0], Vec::new())));
}
