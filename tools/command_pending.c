/* Keys that were destroyed under `undo_window`: undelete and purge; `keys --pending` lists them. */
#include "tools/pending.h"

#include <string.h>

#include "base/alloc.h"
#include "module/admin.h"
#include "tools/command.h"
#include "tools/input.h"
#include "tools/key_text.h"
#include "tools/token.h"

#define UNIQUE_ID_LEN 16

static void show_pending(void *context, const struct admin_pending *key)
{
    struct output *output = context;
    output_record(output);
    output_view(output, "label", key->label);
    output_hex(output, "id", key->id);
    output_hex(output, "unique_id", key->unique_id);
    output_time(output, "destroy_at", key->destroy_at);
    output_flag(output, "hold", key->hold);
    output_end_record(output);
}

CK_RV pending_show(const struct token *token, struct output *output)
{
    output_list(output, "pending", "label id unique_id destroy_at hold");
    CK_RV rv = admin_keys_pending(token->session, show_pending, output);
    output_end_list(output);
    return token_check(token, rv, "the list of destroyed keys");
}

struct search {
    const char *label;
    unsigned char unique_id[UNIQUE_ID_LEN];
    size_t found;
};

static void match_label(void *context, const struct admin_pending *key)
{
    struct search *search = context;
    if (!view_equal(key->label, view_text(search->label)) || key->unique_id.len != UNIQUE_ID_LEN)
        return;
    memcpy(search->unique_id, key->unique_id.bytes, UNIQUE_ID_LEN);
    search->found++;
}

static CK_RV find_pending(const struct token *token, const struct options *options,
                          struct search *search)
{
    const char *unique_id = options_value(options, OPTION_UNIQUE_ID);
    size_t len;
    if ((search->label == NULL) == (unique_id == NULL))
        return FAIL_TOOL(EXIT_CODE_USAGE, "undelete: name the key's label or its --unique-id");
    if (unique_id != NULL) {
        if (!input_parse_hex(unique_id, search->unique_id, UNIQUE_ID_LEN, &len) ||
            len != UNIQUE_ID_LEN)
            return FAIL_TOOL(EXIT_CODE_USAGE, "--unique-id must be %d hexadecimal digits",
                             2 * UNIQUE_ID_LEN);
        return CKR_OK;
    }
    TRY(token_check(token, admin_keys_pending(token->session, match_label, search),
                    "the list of destroyed keys"));
    if (search->found == 0)
        return FAIL_TOOL(EXIT_CODE_NOT_FOUND,
                         "token '%s' has no destroyed key of that label to be had back; see "
                         "indexkey keys --pending",
                         token->label);
    if (search->found > 1)
        return FAIL_TOOL(EXIT_CODE_USAGE,
                         "token '%s' has %zu destroyed keys of that label; name one by --unique-id",
                         token->label, search->found);
    return CKR_OK;
}

CK_RV command_undelete(struct run *run)
{
    struct token token = {0};
    struct search search = {.label = options_argument(run->options)};
    CK_OBJECT_HANDLE key;
    TRY(token_select(run->options, &token));
    TRY(token_login(&token, run->options));
    TRY(find_pending(&token, run->options, &search));
    TRY(token_check(
        &token,
        admin_key_undelete(token.session, (struct view){search.unique_id, UNIQUE_ID_LEN}, &key),
        "undelete"));
    output_text(run->output, "token", token.label);
    return key_text_show(&token, key, run->output);
}

CK_RV command_purge(struct run *run)
{
    struct token token = {0};
    size_t count;
    TRY(token_select(run->options, &token));
    TRY(token_login(&token, run->options));
    TRY(token_check(&token, admin_key_purge(token.session, &count), "purge"));
    output_text(run->output, "token", token.label);
    output_number(run->output, "purged", count);
    return CKR_OK;
}
