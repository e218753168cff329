//! Fitting of tree ensembles: binning, histograms, growing, objectives; exact forests.
