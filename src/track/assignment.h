// Who goes with whom: the assignment of rows to columns with the least total cost.
#ifndef FW_TRACK_ASSIGNMENT_H
#define FW_TRACK_ASSIGNMENT_H

#include <stddef.h>

// Working memory, kept from call to call. Zero-initialise; fw_assignment_free() at the end. One
// thread at a time.
struct fw_assignment {
    size_t row_capacity, column_capacity;
    double *row_price, *column_price, *distance;
    ptrdiff_t *column_row, *previous; // per column
    unsigned char *is_done;           // per column
};

// Makes room for ROWS x COLUMNS, so that the next solve of that size can't fail. FW_OK or
// FW_ENOMEM.
int fw_assignment_reserve(struct fw_assignment *assignment, size_t rows, size_t columns);
void fw_assignment_free(struct fw_assignment *assignment);

// COST is ROWS x COLUMNS, row by row, finite. A row stays alone rather than pay LIMIT or more:
// the sum over all rows of the cost paid, or LIMIT for a row alone, is the least possible, and the
// same input gives the same output. RESULT gets each row's column, or -1. The room must have been
// reserved.
void fw_assignment_solve(struct fw_assignment *assignment, const double *cost, size_t rows,
                         size_t columns, double limit, ptrdiff_t *result);

#endif
