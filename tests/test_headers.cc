// The carrier of the headers that all tests share, precompiled once (see CMakeLists.txt).
