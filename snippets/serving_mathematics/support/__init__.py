"""What every module needs: refusals, comparisons, records, drawing, intervals."""
