{
  "targets": [
    {
      "target_name": "varve",
      "sources": ["<!@(node native/list-sources.cjs core plane binding)"],
      "include_dirs": ["native", "<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": ["NAPI_VERSION=9", "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED",
                  "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
      "cflags!": ["-fno-exceptions", "-O2"],
      "cflags_cc!": ["-fno-exceptions", "-std=gnu++17", "-std=gnu++20", "-O2"],
      "cflags": ["-O3", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-unused-parameter", "-pthread"],
      "cflags_cc": ["-std=c++20", "-fno-exceptions", "-fno-rtti"],
      "ldflags": ["-Wl,-z,nodelete", "-static-libstdc++", "-static-libgcc", "-pthread"],
      "libraries": ["-ldl"]
    }
  ]
}
