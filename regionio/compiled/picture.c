#include "picture.h"

#include <string.h>

int has_picture(const Py_buffer *view, const char *kinds, Picture *picture) {
    const char *format = view->format;
    if (view->ndim != 2 || format == NULL || format[0] == 0 || format[1] != 0) return 0;
    if (strchr(kinds, format[0]) == NULL) return 0;
    *picture = (Picture){view->buf, view->shape[0], view->shape[1], view->strides[0],
                         view->strides[1], format[0]};
    return 1;
}
