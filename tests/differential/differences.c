#include "tests/differential/differences.h"

#include <fnmatch.h>

const struct difference differences[] = {
    {"size-query-upper-bound", ANY_PEER, "C_*", "*", "size query", WHAT_LENGTH, CKR_OK, CKR_OK,
     "a peer's size query tells more than is written; here it is exact where it can be known",
     "5.2"},
};
const size_t differences_count = sizeof(differences) / sizeof(differences[0]);
_Static_assert(sizeof(differences) / sizeof(differences[0]) <= DIFFERENCES_MAX, "too many");

static bool code_fits(CK_RV listed, CK_RV met)
{
    return listed == ANY_CODE || listed == met;
}

bool difference_find(const struct finding *finding, size_t *ret_place)
{
    for (size_t i = 0; i < differences_count; i++) {
        const struct difference *row = &differences[i];
        if ((row->peer != ANY_PEER && row->peer != (int) finding->peer) ||
            row->what != finding->what || !code_fits(row->ours, finding->ours) ||
            !code_fits(row->theirs, finding->theirs))
            continue;
        if (fnmatch(row->functions, call_name(finding->function), FNM_EXTMATCH) == 0 &&
            fnmatch(row->subject, finding->subject, FNM_EXTMATCH) == 0 &&
            fnmatch(row->variant, finding->variant, FNM_EXTMATCH) == 0) {
            *ret_place = i;
            return true;
        }
    }
    return false;
}
