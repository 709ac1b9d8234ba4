# Writes OUT with the commit of the checkout at SOURCE; not when it says so already, since what
# includes it would be compiled anew.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty=+ --abbrev=12 --match=
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
set(text "#define MONGOOSE_COMMIT \"${commit}\"\n")
set(before "")
if(EXISTS ${OUT})
  file(READ ${OUT} before)
endif()
if(NOT before STREQUAL text)
  file(WRITE ${OUT} "${text}")
endif()
