// Shortest augmenting paths (R. Jonker, A. Volgenant, "A shortest augmenting path algorithm for
// dense and sparse linear assignment problems", Computing 38, 1987), without their initialisation:
// a camera has few faces, and with the limit most paths end at the first step.
//
// Staying alone is a column of its own for each row, with the cost LIMIT there and infinite
// elsewhere; these columns follow the real ones and take no memory in the cost matrix.
#include "track/assignment.h"
#include "util/error.h"
#include <float.h>
#include <stdint.h>
#include <stdlib.h>

static void *grow(void *memory, size_t count, size_t size)
{
    return count > SIZE_MAX / size ? NULL : realloc(memory, count * size);
}

static int grow_doubles(double **memory, size_t count)
{
    double *grown = grow(*memory, count, sizeof(**memory));

    if (grown == NULL)
        return FW_ENOMEM;
    *memory = grown;
    return FW_OK;
}

static int grow_indices(ptrdiff_t **memory, size_t count)
{
    ptrdiff_t *grown = grow(*memory, count, sizeof(**memory));

    if (grown == NULL)
        return FW_ENOMEM;
    *memory = grown;
    return FW_OK;
}

int fw_assignment_reserve(struct fw_assignment *assignment, size_t rows, size_t columns)
{
    size_t all = columns + rows;
    unsigned char *is_done;

    if (rows > assignment->row_capacity) {
        if (grow_doubles(&assignment->row_price, rows) != FW_OK)
            return FW_ENOMEM;
        assignment->row_capacity = rows;
    }
    if (all <= assignment->column_capacity)
        return FW_OK;
    if (grow_doubles(&assignment->column_price, all) != FW_OK ||
        grow_doubles(&assignment->distance, all) != FW_OK ||
        grow_indices(&assignment->column_row, all) != FW_OK ||
        grow_indices(&assignment->previous, all) != FW_OK)
        return FW_ENOMEM;
    is_done = grow(assignment->is_done, all, 1);
    if (is_done == NULL)
        return FW_ENOMEM;
    assignment->is_done = is_done;
    assignment->column_capacity = all;
    return FW_OK;
}

void fw_assignment_free(struct fw_assignment *assignment)
{
    free(assignment->row_price);
    free(assignment->column_price);
    free(assignment->distance);
    free(assignment->column_row);
    free(assignment->previous);
    free(assignment->is_done);
    *assignment = (struct fw_assignment){0};
}

// One problem under way.
struct problem {
    const double *cost;
    size_t rows, columns;
    double limit;
};

// Lowers the distances of the columns next to ROW, which was reached through column VIA (-1: it is
// the path's start) at distance BASE.
static void relax(struct fw_assignment *a, const struct problem *problem, size_t row, ptrdiff_t via,
                  double base)
{
    const double *costs = problem->cost + row * problem->columns;
    size_t alone = problem->columns + row;
    double offset = base - a->row_price[row];

    for (size_t j = 0; j < problem->columns; j++) {
        double through = offset + costs[j] - a->column_price[j];
        if (costs[j] < problem->limit && !a->is_done[j] && through < a->distance[j]) {
            a->distance[j] = through;
            a->previous[j] = via;
        }
    }
    if (offset + problem->limit - a->column_price[alone] < a->distance[alone]) {
        a->distance[alone] = offset + problem->limit - a->column_price[alone];
        a->previous[alone] = via;
    }
}

// The nearest column not done. One always exists: the row's own.
static size_t nearest(const struct fw_assignment *a, size_t all)
{
    size_t best = 0;
    double best_distance = DBL_MAX;

    for (size_t j = 0; j < all; j++) {
        if (!a->is_done[j] && a->distance[j] < best_distance) {
            best_distance = a->distance[j];
            best = j;
        }
    }
    return best;
}

// Finds the shortest path from ROW to a free column and returns that column.
static size_t find_path(struct fw_assignment *a, const struct problem *problem, size_t row)
{
    size_t all = problem->columns + problem->rows;
    size_t column;

    for (size_t j = 0; j < all; j++) {
        a->distance[j] = DBL_MAX;
        a->is_done[j] = 0;
    }
    relax(a, problem, row, -1, 0.0);
    column = nearest(a, all);
    while (a->column_row[column] >= 0) {
        a->is_done[column] = 1;
        relax(a, problem, (size_t)a->column_row[column], (ptrdiff_t)column, a->distance[column]);
        column = nearest(a, all);
    }
    return column;
}

static void update_prices(struct fw_assignment *a, size_t all, size_t row, double shortest)
{
    a->row_price[row] += shortest;
    for (size_t j = 0; j < all; j++) {
        if (a->is_done[j]) {
            a->row_price[a->column_row[j]] += shortest - a->distance[j];
            a->column_price[j] += a->distance[j] - shortest;
        }
    }
}

static void augment(struct fw_assignment *a, size_t row, size_t column)
{
    size_t j = column;

    while (a->previous[j] >= 0) {
        a->column_row[j] = a->column_row[a->previous[j]];
        j = (size_t)a->previous[j];
    }
    a->column_row[j] = (ptrdiff_t)row;
}

void fw_assignment_solve(struct fw_assignment *assignment, const double *cost, size_t rows,
                         size_t columns, double limit, ptrdiff_t *result)
{
    const struct problem problem = {cost, rows, columns, limit};
    size_t all = columns + rows;

    for (size_t j = 0; j < all; j++) {
        assignment->column_price[j] = 0.0;
        assignment->column_row[j] = -1;
    }
    for (size_t i = 0; i < rows; i++) {
        size_t column;
        assignment->row_price[i] = 0.0;
        column = find_path(assignment, &problem, i);
        update_prices(assignment, all, i, assignment->distance[column]);
        augment(assignment, i, column);
        result[i] = -1;
    }
    for (size_t j = 0; j < columns; j++)
        if (assignment->column_row[j] >= 0)
            result[assignment->column_row[j]] = (ptrdiff_t)j;
}
